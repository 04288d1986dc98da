"""Which hooks there are, and which an SAE's files say, is known without a model."""

import json
from pathlib import Path
from typing import Any

import models
import pytest
from factories import make_sae_folder

from saebench.catalogue.hooks import misnamed
from saebench.catalogue.registry import resolve
from saebench.hub.hooks import unsaid


def test_hooks_of_models_are_known_by_name() -> None:
    pytest.importorskip("transformer_lens")
    for architecture in ("gpt2", "llama", "neox", "gemma2"):
        hooks = models.shared(architecture).bridge.hook_dict
        assert [hook for hook in hooks if hook.startswith(("blocks.", "hook_embed")) and misnamed(hook)] == []


def test_a_hook_of_a_rare_architecture_is_left_to_its_model() -> None:
    assert misnamed("blocks.0.mixer.hook_ssm_state") == misnamed("blocks.0.moe.hook_router_scores") == ""


def hooks_of(folder: Path, **config: Any) -> bool:
    (folder / "cfg.json").write_text(json.dumps(config))
    return unsaid(resolve(str(folder))[0])


def test_whether_the_files_of_sae_lens_say_a_hook(tmp_path: Path) -> None:
    folder = make_sae_folder(tmp_path / "x")
    assert not hooks_of(folder, metadata={"hook_name": "blocks.1.hook_resid_post"})
    assert not hooks_of(folder, hook_name="blocks.1.hook_resid_post")
    assert hooks_of(folder, metadata={"hook_name": None})
    assert hooks_of(folder, d_in=4)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"config.json": {"trainer": {"dict_class": "AutoEncoder"}}, "ae.pt": {}}, True),
        ({"config.json": {"trainer": {"dict_class": "AutoEncoder", "layer": 0}}, "ae.pt": {}}, False),
        ({"cfg.json": {"k": 1}, "sae.safetensors": {}}, True),
        ({"params.safetensors": {}}, True),
        ({"params.safetensors": {}, "config.json": {"hf_hook_point_in": "model.layers.1.output"}}, False),
        ({"params.npz": {}}, True),
    ],
)
def test_whether_other_files_say_a_hook(tmp_path: Path, files: dict[str, Any], expected: bool) -> None:
    from saebench.catalogue.spec import SAESpec

    (tmp_path / "x").mkdir()
    for name, content in files.items():
        (tmp_path / "x" / name).write_text(json.dumps(content))
    assert unsaid(SAESpec("x", "files", str(tmp_path / "x"))) is expected
    assert not unsaid(SAESpec("x", "files", str(tmp_path / "x"), hook="blocks.1.hook_resid_post"))


def test_what_only_loading_tells_is_not_judged() -> None:
    (spec,) = resolve("saelens:gpt2-small-res-jb/blocks.8.hook_resid_pre")
    assert not unsaid(spec)
    assert not unsaid(resolve("os:system")[0])
