"""Any object with encode is an SAE, its digest is that of what it computes, and sae-lens's SAEs are what they were."""

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from sae_lens_folders import CASES, sae_lens_folder

from saebench.catalogue.registry import resolve
from saebench.saes.loaders import load_sae
from saebench.saes.sae import LoadedSAE

MINE = """
import torch

class Mine:
    hook = "blocks.1.hook_resid_post"
    context_size = 64
    k = 4

    def __init__(self, scale=1.0):
        self.W_dec = torch.ones(3, 2) * scale

    def encode(self, x):
        return x @ self.W_dec.T

def make():
    return Mine()

class Zoo:
    make = staticmethod(make)

def no_encode():
    return object()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "my_sae_module", raising=False)
    return tmp_path


def load(folder: Path, code: str = MINE, name: str = "make") -> LoadedSAE:
    """Write the module anew and load an SAE from it, as another process would."""
    (folder / "my_sae_module.py").write_text(code)
    sys.modules.pop("my_sae_module", None)
    importlib.invalidate_caches()
    (spec,) = resolve(f"my_sae_module:{name}")
    return load_sae(spec)


def test_object_says_its_hook_and_context(folder: Path) -> None:
    found = load(folder)
    assert (found.spec.hook, found.spec.context_size, found.spec.model) == ("blocks.1.hook_resid_post", 64, None)
    assert found.spec.name == "my_sae_module:make"
    assert found.decode(found.encode(torch.ones(5, 2))).tolist() == [[6.0, 6.0]] * 5


def test_object_that_says_nothing_is_loaded_too(folder: Path) -> None:
    silent = "class A:\n    def encode(self, x):\n        return x\n"
    spec = load(folder, silent, "A").spec
    assert (spec.hook, spec.context_size, spec.model) == (None, None, None)


def test_module_is_put_on_its_device(folder: Path) -> None:
    code = "import torch\nclass A(torch.nn.Linear):\n    def encode(self, x):\n        return self(x)\ndef make():\n"
    found = load(folder, code + "    return A(2, 3)\n")
    assert found.encode(torch.ones(4, 2)).shape == (4, 3)
    assert not found.encode(torch.ones(4, 2)).requires_grad


def test_attribute_of_an_attribute(folder: Path) -> None:
    assert load(folder, name="Zoo.make").digest


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("no_encode", "my_sae_module:no_encode: the object it returned, a object, has no encode"),
        ("absent", "my_sae_module:absent: module my_sae_module has no absent"),
    ],
)
def test_what_is_no_sae_is_one_sentence(folder: Path, name: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        load(folder, name=name)


def test_absent_submodule_is_one_sentence(folder: Path) -> None:
    (folder / "my_sae_package").mkdir()
    (folder / "my_sae_package" / "__init__.py").touch()
    (spec,) = resolve("my_sae_package.absent:make")
    with pytest.raises((ValueError, OSError), match="my_sae_package"):
        load_sae(spec)


def test_digest_is_the_same_next_time(folder: Path) -> None:
    assert load(folder).digest == load(folder).digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("torch.ones(3, 2)", "torch.ones(3, 2) + 1e-6"),
        ("torch.ones(3, 2)", "torch.ones(4, 2)"),
        ("x @ self.W_dec.T", "(x @ self.W_dec.T).relu()"),
        ("k = 4", "k = 8"),
    ],
)
def test_digest_changes_with_weights_and_class(folder: Path, old: str, new: str) -> None:
    assert load(folder).digest != load(folder, MINE.replace(old, new)).digest


HIDDEN = """
import torch

class Inner(torch.nn.Module):
    def __init__(self, threshold):
        super().__init__()
        self.register_buffer("threshold", torch.tensor(threshold), persistent=False)

def helper(x):
    return x.relu()

class Mine:
    def encode(self, x):
        return helper(x)

def make():
    sae = Mine()
    sae.k, sae.parts, sae.inner = 4, [torch.ones(2)], Inner(1.0)
    return sae
"""


@pytest.mark.parametrize(
    ("old", "new"), [("= 4,", "= 8,"), ("ones(2)", "zeros(2)"), ("Inner(1.0)", "Inner(2.0)"), ("x.relu()", "x.abs()")]
)
def test_digest_changes_with_what_is_no_tensor_of_its_own(folder: Path, old: str, new: str) -> None:
    assert load(folder, HIDDEN).digest != load(folder, HIDDEN.replace(old, new)).digest


ADAPTER = """
import torch

class Adapter:
    def __init__(self):
        self.inner = torch.nn.Linear(2, 3)
        self.inner.load_state_dict(torch.load("weights.pt", weights_only=True))

    def encode(self, x):
        return self.inner(x)
"""


def test_digest_changes_with_the_weights_of_a_wrapped_module(folder: Path) -> None:
    digests = []
    for scale in (1.0, 2.0):
        torch.save({"weight": torch.full((3, 2), scale), "bias": torch.zeros(3)}, folder / "weights.pt")
        digests.append(load(folder, ADAPTER, "Adapter").digest)
    assert digests[0] != digests[1]


# sae-lens


@pytest.mark.parametrize(("architecture", "config"), CASES)
def test_sae_lens_computes_what_it_computed(tmp_path: Path, architecture: str, config: dict[str, Any]) -> None:
    original = sae_lens_folder(tmp_path / "mine", architecture, **config)
    (spec,) = resolve(str(tmp_path / "mine"))
    found, x = load_sae(spec), torch.randn(50, 8) + 1
    with torch.no_grad():
        expected, latents = original(x), original.encode(x)
    assert torch.allclose(found.decode(found.encode(x), x), expected, atol=1e-6)
    original(x)
    assert torch.equal(found.encode(x) != 0, latents != 0)
    assert float((latents != 0).float().mean()) > 0.05


def test_sae_lens_facts_are_read(tmp_path: Path) -> None:
    sae_lens_folder(tmp_path / "mine", "jumprelu", normalize_activations="layer_norm")
    (spec,) = resolve(str(tmp_path / "mine"))
    found = load_sae(spec)
    assert found.spec == spec
    assert (spec.architecture, spec.normalisation, spec.context_size) == ("jumprelu", "layer_norm", 64)
    assert (spec.d_in, spec.d_sae, spec.model, spec.hook) == (8, 32, "tiny", "blocks.0.hook_resid_post")
    assert found.digest == spec.digest


def test_sae_lens_digest_changes_with_a_weight(tmp_path: Path) -> None:
    sae = sae_lens_folder(tmp_path / "a", "standard")
    with torch.no_grad():
        sae.W_dec[0, 0] += 1e-3
    sae.save_model(tmp_path / "b")
    digests = [load_sae(spec).digest for name in "ab" for spec in resolve(str(tmp_path / name))]
    assert digests[0] != digests[1]


def test_sae_lens_weights_are_frozen(tmp_path: Path) -> None:
    sae_lens_folder(tmp_path / "mine", "standard")
    (spec,) = resolve(str(tmp_path / "mine"))
    found = load_sae(spec)
    assert not any(p.requires_grad for p in found.source.parameters())
    assert not found.source.training
