"""Checkpoints that hold code, and configurations that are broken or say what cannot be."""

import json
from pathlib import Path
from typing import Any

import hostile
import pytest
import torch
from hostile import (
    FORMATS,
    HOSTILE,
    UNSHOWABLE,
    Code,
    arrays,
    place,
    written,
)
from hostile_cases import BROKEN, Case, Told, changed, ids, loaded

from saebench.catalogue.spec import SAESpec
from saebench.saes.loaders import load_sae

torch.set_num_threads(1)


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("kind", ["x.pt", "raw x.pt", "old x.pt", "x.npz", "ae.pt", "goodfire"])
def test_code_in_a_pickle_is_not_run(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch, kind: str, forced: bool
) -> None:
    import numpy as np

    if forced:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    mark, weights = tmp_path / "ran", {**arrays(), "more": Code(tmp_path / "ran")}
    files: dict[str, hostile.Files] = {
        "x.pt": {"x.pt": hostile.checkpoint(weights)},
        "raw x.pt": {"x.pt": hostile.raw_pickle(weights)},
        "old x.pt": {"x.pt": hostile.old_checkpoint(weights)},
        "x.npz": {"x.npz": hostile.npz({**arrays(), "more": np.array([Code(mark)], dtype=object)})},
        "ae.pt": FORMATS["dictionary_learning AutoEncoderTopK"].files(weights),
        "goodfire": {"x.pt": hostile.checkpoint(weights)},
    }
    path = place(tmp_path / "mine", files[kind])
    # sae-lens's converters call torch.load without a word about code.
    as_goodfire = SAESpec("mine/goodfire", "files", str(path), format="goodfire")
    told(lambda: load_sae(as_goodfire) if kind == "goodfire" else loaded(path))
    assert not mark.exists()


def of_form(folder: Path, form: str, name: str, config: Any) -> Path:
    """An SAE whose configuration is changed; bytes replace it as a whole."""
    files = dict(FORMATS[form].files(FORMATS[form].weights()))
    known = files[name] if isinstance(files[name], dict) else json.loads(files[name])
    files[name] = config if isinstance(config, bytes) else merged(known, config)
    return written(folder / "mine", files)


def merged(known: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    both = {key: merged(known[key], value) for key, value in changes.items() if both_tables(known.get(key), value)}
    return {**known, **changes, **both}


def both_tables(known: Any, value: Any) -> bool:
    return isinstance(known, dict) and isinstance(value, dict) and bool(value)


CONFIGS = [
    ("sae-lens topk", "cfg.json"),
    ("dictionary_learning AutoEncoderTopK", "config.json"),
    ("sparsify", "cfg.json"),
]


@pytest.mark.parametrize(("form", "name"), CONFIGS)
@ids(BROKEN)
def test_configuration_that_is_none(tmp_path: Path, told: Told, form: str, name: str, case: bytes) -> None:
    told(lambda: loaded(of_form(tmp_path, form, name, case)), "mine")


def about(**metadata: Any) -> dict[str, Any]:
    return {"metadata": metadata}


SAE_LENS: dict[str, Case] = {
    **{f"architecture {v!r:.9}": ({"architecture": v}, "architecture") for v in (5, ["topk"], {})},
    "unknown architecture": ({"architecture": "nope"}, "nope"),
    **{f"architecture {name}": ({"architecture": HOSTILE[name]}, "mine") for name in HOSTILE},
    **{f"d_in {v!r}": ({"d_in": v}, "d_in") for v in ("16", 1.5, [16], True, {}, float("nan"))},
    **{f"d_in {v!r:.9}": ({"d_in": v}, "mine") for v in (-1, 0, 15, 10**12, 10**30)},
    **{f"d_sae {v!r:.9}": ({"d_sae": v}, "mine") for v in (-1, 0, 63, 10**12, 10**30, "64")},
    **{f"k {v!r:.9}": ({"k": v}, "k") for v in (-1, 0, 65, 10**30, "5", 1.5, None, [5], {})},
    **{f"normalisation {v!r:.9}": ({"normalize_activations": v}, "normal") for v in (5, [], {}, "nope", "a\nb")},
    **{f"metadata {v!r}": ({"metadata": v}, "metadata") for v in ("x", [1], 5)},
    **{f"model {v!r}": (about(model_name=v), "model_name") for v in (5, ["x"], {"a": 1})},
    **{f"model {name}": (about(model_name=HOSTILE[name]), "model is") for name in UNSHOWABLE},
    **{f"hook {v!r}": (about(hook_name=v), "hook_name") for v in (5, ["x"], {"a": 1})},
    **{f"hook {name}": (about(hook_name=HOSTILE[name]), "hook is") for name in UNSHOWABLE},
    **{f"hook out {name}": (about(hook_name_out=HOSTILE[name]), "hook_out is") for name in UNSHOWABLE},
    **{f"context {v!r}": (about(context_size=v), "context_size") for v in ("64", [64], 1.5, True, -5, 0, {"a": 1})},
    **{f"BOS {v!r}": (about(prepend_bos=v), "prepend_bos") for v in ("x", 1, [])},
    **{f"kwargs {v!r}": (about(model_from_pretrained_kwargs=v), "mine") for v in ("x", [1], 5)},
}


@ids(SAE_LENS)
def test_configuration_of_sae_lens(tmp_path: Path, told: Told, case: Case) -> None:
    told(lambda: loaded(of_form(tmp_path, "sae-lens topk", "cfg.json", case[0])), case[1])


def trainer(**facts: Any) -> dict[str, Any]:
    return {"trainer": facts}


DICTIONARY_LEARNING: dict[str, Case] = {
    "no trainer": ({"trainer": []}, "trainer"),
    **{
        f"class {v!r:.9}": (trainer(dict_class=v), "dict_class") for v in ("Nope", ["x"], 5, None, "a\nb", "a" * 10_000)
    },
    **{
        f"layer {v!r:.9}": (trainer(layer=v), "layer")
        for v in ("../..", {"a": 1}, [1], -1, 1.5, True, "5\n", "a" * 10_000)
    },
    **{f"model {v!r:.9}": (trainer(lm_name=v), "model") for v in (5, ["x"], "a\nb", "a\x1b[31m", "a" * 10_000)},
    **{f"context {v!r}": ({"buffer": {"ctx_len": v}}, "context_size") for v in ("64", [1], -3, 1.5, True, {"a": 1})},
}


@ids(DICTIONARY_LEARNING)
def test_configuration_of_dictionary_learning(tmp_path: Path, told: Told, case: Case) -> None:
    path = of_form(tmp_path, "dictionary_learning AutoEncoderTopK", "config.json", case[0])
    told(lambda: loaded(path), case[1])


@pytest.mark.parametrize("k", [0, -1, 65, 2**62, 2.5, float("nan"), float("inf")])
def test_k_in_a_checkpoint(tmp_path: Path, told: Told, k: float) -> None:
    files = changed("dictionary_learning AutoEncoderTopK", "k", torch.tensor(k))
    told(lambda: loaded(place(tmp_path / "mine", files)), " k ")


@pytest.mark.parametrize("k", ["5", "x", -1, 0, 65, 10**30, 1.5, None, [5], {}, True, float("inf"), float("nan")])
def test_k_of_sparsify(tmp_path: Path, told: Told, k: Any) -> None:
    told(lambda: loaded(of_form(tmp_path, "sparsify", "cfg.json", {"k": k})), "/mine", "k is ")


@pytest.mark.parametrize("activation", ["nope", "a\nb", 5, ["topk"], None, "a" * 10_000])
def test_activation_of_sparsify(tmp_path: Path, told: Told, activation: Any) -> None:
    told(lambda: loaded(of_form(tmp_path, "sparsify", "cfg.json", {"activation": activation})), "activation")


@ids({
    **{f"model {v!r:.9}": ({"model": v}, "model") for v in (5, ["x"], {"a": 1}, "a\nb", "a" * 10_000)},
    **{f"context {v!r}": ({"ctx_len": v}, "context_size") for v in ("64", [1], -1, 1.5, {"a": 1})},
    "a list": ([], "config.json"),
})  # fmt: skip
def test_run_of_sparsify(tmp_path: Path, told: Told, case: Case) -> None:
    path = of_form(tmp_path, "sparsify", "cfg.json", {})
    written(tmp_path, {"config.json": case[0]})
    told(lambda: loaded(path), case[1])


@ids({
    **{f"hook {v!r:.9}": ({"hf_hook_point_in": v}, "hook") for v in (5, ["x"], "a\nb", "model.layers.1.nope", "a" * 10_000)},
    **{f"model {v!r:.9}": ({"model_name": v}, "model") for v in (5, {"a": 1}, "a\nb", "a\x1b[31m")},
})  # fmt: skip
def test_configuration_of_gemma_scope_2(tmp_path: Path, told: Told, case: Case) -> None:
    told(lambda: loaded(of_form(tmp_path, "gemma scope 2", "config.json", case[0])), case[1])
