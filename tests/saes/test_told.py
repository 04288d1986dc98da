"""What an object says of itself is read, held together, and held against what it does."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from sae_lens_folders import CASES, sae_lens_folder
from torch import Tensor

from saebench.catalogue.registry import resolve
from saebench.catalogue.spec import SAESpec
from saebench.record.score import Unscored
from saebench.saes.loaders import load_sae
from saebench.saes.sae import LoadedSAE

HOOK = "blocks.2.hook_resid_post"


def load(made: Any, monkeypatch: pytest.MonkeyPatch) -> LoadedSAE:
    """An object, as a callable of a module gives it."""
    monkeypatch.setitem(sys.modules, "my_told", SimpleNamespace(make=lambda: made))
    return load_sae(SAESpec(name="my_told:make", loader="python", location="my_told:make"))


class Linear(torch.nn.Module):
    """Reads 8 dimensions with 32 latents."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        self.W_enc, self.W_dec = torch.eye(8, 32), torch.eye(32, 8)
        for name, value in attributes.items():
            setattr(self, name, value)

    def encode(self, x: Tensor) -> Tensor:
        return (x @ self.W_enc).relu()


@dataclass
class Config:
    hook_name: str = HOOK
    model_name: str = "gpt2-small"
    d_in: int = 8
    d_sae: int = 32
    context_size: int = 128
    architecture: str = "jumprelu"
    prepend_bos: bool = False
    normalize_activations: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


ATTRIBUTES = {
    "hook": HOOK, "hook_out": "blocks.2.hook_mlp_out", "context_size": 64, "model": "org/tiny", "architecture": "topk",
    "d_in": 8, "d_sae": 32, "normalisation": "layer_norm", "prepend_bos": False,
}  # fmt: skip
SAID = {
    "attributes": (ATTRIBUTES, ATTRIBUTES),
    "cfg as a dataclass": (
        {"cfg": Config()},
        {"hook": HOOK, "model": "openai-community/gpt2", "context_size": 128, "architecture": "jumprelu",
         "prepend_bos": False, "d_in": 8, "d_sae": 32},
    ),
    "cfg as a dictionary": (
        {"cfg": {"hook_name": HOOK, "context_size": 64, "model": "org/tiny", "d_in": 8}},
        {"hook": HOOK, "context_size": 64, "model": "org/tiny", "d_in": 8},
    ),
    "metadata in a dictionary": (
        {"cfg": {"metadata": {"hook_name": HOOK, "context_size": 32, "prepend_bos": False}}},
        {"hook": HOOK, "context_size": 32, "prepend_bos": False},
    ),
    "the same twice": (
        {"hook": HOOK, "cfg": Config(metadata={"hook_name": HOOK, "model_name": "gpt2"})},
        {"hook": HOOK, "model": "openai-community/gpt2"},
    ),
    "dictionary_learning's configuration": (
        {"activation_dim": 8, "dict_size": 32, "config": {
            "trainer": {"layer": 2, "lm_name": "org/tiny", "submodule_name": "resid_post_layer_2", "dict_size": 32},
            "buffer": {"ctx_len": 96}}},
        {"hook": HOOK, "model": "org/tiny", "context_size": 96, "d_in": 8, "d_sae": 32},
    ),
    "sparsify's place": (
        {"num_latents": 32, "hookpoint": "layers.2.mlp", "cfg": SimpleNamespace(k=4, transcode=False)},
        {"hook": "blocks.2.hook_mlp_out", "d_sae": 32, "prepend_bos": False},
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", SAID)
def test_what_it_says_is_read(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    attributes, facts = SAID[how]
    spec = load(Linear(**attributes), monkeypatch).spec
    assert {name: getattr(spec, name) for name in facts} == facts


def test_the_configuration_beside_a_dictionary_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """As dictionary_learning's `load_dictionary` returns it."""
    config = {"trainer": {"layer": 2, "lm_name": "org/tiny", "submodule_name": "resid"}, "buffer": {"ctx_len": 96}}
    spec = load((Linear(), config), monkeypatch).spec
    assert (spec.hook, spec.model, spec.context_size) == (HOOK, "org/tiny", 96)


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({"hook": HOOK, "cfg": {"hook_name": "blocks.1.hook_resid_post"}},
         "contradicts itself about its hook: its attribute hook says 'blocks.2.hook_resid_post', cfg.hook_name says"
         " 'blocks.1.hook_resid_post'"),
        ({"cfg": Config(metadata={"context_size": 64})}, "its context_size: cfg.context_size says 128, cfg.metadata.context_size says 64"),
        ({"d_in": 8, "cfg": {"d_in": 9}}, "contradicts itself about its d_in"),
        ({"hook": 7}, "hook is 7, and should be a short line of text"),
        ({"cfg": {"context_size": -1}}, "context_size is -1, and should be a positive whole number"),
        ({"prepend_bos": "no"}, "prepend_bos is 'no', and should be true or false"),
        ({"d_sae": 16}, "says that it has 16 latents, and encode returns 32"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_sentence(
    attributes: dict[str, Any], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import re

    with pytest.raises(ValueError, match=re.escape(sentence)) as told:
        load(Linear(**attributes), monkeypatch)
    assert str(told.value).startswith("my_told:make")
    assert "\n" not in str(told.value)


# Objects of libraries


@pytest.mark.parametrize(("architecture", "config"), CASES)
def test_an_object_of_sae_lens_is_what_its_folder_is(
    architecture: str, config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sae_lens import SAE

    sae_lens_folder(tmp_path / "mine", architecture, **config)
    (spec,) = resolve(str(tmp_path / "mine"))
    folder, found = load_sae(spec), load(SAE.load_from_disk(tmp_path / "mine"), monkeypatch)
    for fact in (*ATTRIBUTES, "centred", "facts"):
        assert getattr(found.spec, fact) == getattr(folder.spec, fact), fact
    x = torch.randn(200, 8, generator=torch.Generator().manual_seed(0)) + 1
    latents = folder.encode(x)
    assert torch.equal(found.encode(x), latents)
    assert torch.equal(found.decode(latents, x), folder.decode(latents, x))
    assert all(torch.equal(a, b) for a, b in zip(found.directions(32), folder.directions(32), strict=True))
    assert found.unresumable == ""


def test_what_sae_lens_cannot_undo_is_refused_as_in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sae_lens import SAE

    sae_lens_folder(tmp_path / "mine", "standard", normalize_activations="expected_average_only_in")
    with pytest.raises(ValueError, match=r"^my_told:make: it was trained on activations normalised by"):
        load(SAE.load_from_disk(tmp_path / "mine"), monkeypatch)


class EncoderOutput(NamedTuple):
    top_acts: Tensor
    top_indices: Tensor
    pre_acts: Tensor


class SparseCoder(torch.nn.Module):
    """As sparsify's."""

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.d_in, self.num_latents, self.cfg = 8, 32, SimpleNamespace(k=4, activation="topk", transcode=False)
        self.encoder = torch.nn.Linear(8, 32)
        self.encoder.weight.data = torch.randn(32, 8, generator=draw)
        self.W_dec = torch.nn.Parameter(self.encoder.weight.data.clone())
        self.b_dec = torch.nn.Parameter(torch.ones(8))
        self.W_skip: Tensor | None = None

    def encode(self, x: Tensor) -> EncoderOutput:
        pre = self.encoder(x - self.b_dec).relu()
        return EncoderOutput(*pre.topk(self.cfg.k), pre)

    def decode(self, top_acts: Tensor, top_indices: Tensor) -> Tensor:
        return (top_acts[..., None] * self.W_dec[top_indices]).sum(-2) + self.b_dec


@pytest.mark.parametrize("skips", [False, True])
def test_an_object_of_sparsify_is_written_out(skips: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    coder = SparseCoder()
    coder.W_skip = torch.nn.Parameter(torch.eye(8)) if skips else None
    found, x = load(coder, monkeypatch), torch.randn(50, 8)
    assert (found.spec.d_in, found.spec.d_sae, found.unresumable) == (8, 32, "")
    latents, out = found.encode(x), coder.encode(x)
    assert torch.equal(latents.gather(1, out.top_indices), out.top_acts)
    assert int((latents != 0).sum(1).max()) == 4
    expected = coder.decode(out.top_acts, out.top_indices) + (x if skips else 0)
    assert torch.allclose(found.decode(latents, x), expected, atol=1e-5)


def test_a_training_object_of_sae_lens_that_needs_its_batch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from sae_lens import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig

    made = BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(d_in=8, d_sae=32, k=4))
    with pytest.raises(Unscored, match="BatchTopK's does without its threshold") as told:
        load(made, monkeypatch).encode(torch.randn(20, 8))
    assert told.value.broken
