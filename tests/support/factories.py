"""Small made-up scores and SAE folders for tests."""

import json
import sys
from pathlib import Path
from typing import Any

from saebench.record.score import Score


def make_score(**overrides: Any) -> Score:
    """A valid score, 0.412 ±0.038; `half` sets the interval around `value`, `unscored` gives a reason instead."""
    half = overrides.pop("half", 0.038)
    reason = overrides.pop("unscored", None)
    value = overrides.pop("value", 0.412)
    value = None if reason else value
    sae = overrides.get("sae", "mine/topk")
    known: dict[str, Any] = {
        "property": "absorption.suppression_ratio", "version": 1, "sae": sae, "sae_digest": f"digest of {sae}",
        "model": "organism", "model_digest": "m" * 64, "hook": "blocks.2", "corpus": "organism/test", "value": value,
        "unscored_reason": reason, "better": "lower", "unit": "ratio", "n": 40, "n_unit": "letters", "l0": 16.0,
        "fvu": 0.2, "commit": "abc1234", "created": "2026-01-01T00:00:00Z", "versions": {"saebench": "0.1.0"},
    }  # fmt: skip
    if value is not None:
        known |= {"ci_low": value - half, "ci_high": value + half}
    return Score(**(known | overrides))


def make_sae_folder(folder: Path, *, seed: int = 0, **metadata: Any) -> Path:
    """A folder in sae-lens's disk format with small weights."""
    import numpy as np
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    known = {"hook_name": "blocks.2", "model_name": "tiny", "context_size": 64, "prepend_bos": True, "l0": 16.1}
    config = {"architecture": "topk", "d_in": 4, "d_sae": 8, "normalize_activations": "none"}
    (folder / "cfg.json").write_text(json.dumps(config | {"metadata": known | metadata}))
    weights = np.random.default_rng(seed).normal(size=(4, 8)).astype(np.float32)
    save_file({"W_enc": weights}, folder / "sae_weights.safetensors")
    return folder


def make_project(pytester: Any, monkeypatch: Any, tmp_path_factory: Any, saes: str, suite: str) -> Any:
    """A folder with custom SAEs and a small suite; activations are cached once for the whole session."""
    pytester.makepyfile(my_saes=saes)
    (pytester.path / "suites").mkdir()
    (pytester.path / "suites" / "test_small.py").write_text(suite)
    monkeypatch.setenv("SAEBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.syspath_prepend(pytester.path)
    monkeypatch.delitem(sys.modules, "my_saes", raising=False)
    return pytester
