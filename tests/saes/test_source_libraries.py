"""Checkpoints that the source libraries wrote are read as those libraries read them.

tests/data/make_checkpoints.py made them, and what the libraries computed, with the libraries' own code.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from paths import DATA

from saebench.catalogue.registry import resolve
from saebench.saes.loaders import load_sae
from saebench.saes.sae import LoadedSAE

FOLDER = DATA / "checkpoints"
NAMES = sorted(path.name for path in FOLDER.iterdir())


def checkpoint(name: str) -> Path:
    """The SAE's folder or file in a checkpoint's folder."""
    return next(p for p in sorted((FOLDER / name).iterdir()) if p.is_dir() or p.name.startswith("sae."))


def loaded(name: str) -> LoadedSAE:
    (spec,) = resolve(str(checkpoint(name)))
    return load_sae(spec)


def expected(name: str) -> dict[str, torch.Tensor]:
    with np.load(FOLDER / name / "expected.npz") as found:
        return {key: torch.from_numpy(found[key]) for key in found.files}


def test_every_class_of_every_trainer_is_here() -> None:
    assert len(NAMES) == 25
    kinds = {name.split("_")[0] for name in NAMES}
    assert kinds == {"dictionary", "sparsify", "plain"}


@pytest.mark.parametrize("name", NAMES)
def test_latents_and_reconstructions_are_the_source_librarys(name: str) -> None:
    sae, known = loaded(name), expected(name)
    latents = sae.encode(known["x"])
    assert torch.allclose(latents, known["latents"], atol=1e-5)
    assert torch.equal(latents != 0, known["latents"] != 0)
    assert torch.allclose(sae.decode(latents, known["x"]), known["reconstruction"], atol=1e-5)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("plain")])
def test_hook_model_and_context_are_read(name: str) -> None:
    spec = loaded(name).spec
    assert (spec.model, spec.context_size) == ("EleutherAI/pythia-70m-deduped", 128)
    transcodes = "transcoder" in name
    assert spec.hook == ("blocks.3.mlp.hook_in" if transcodes else "blocks.3.hook_resid_post")
    assert spec.hook_out == ("blocks.3.hook_mlp_out" if transcodes else None)


@pytest.mark.parametrize("name", NAMES)
def test_directions_are_what_one_latent_alone_writes(name: str) -> None:
    sae, known = loaded(name), expected(name)
    latents = known["latents"]
    directions, norms = sae.directions(latents.shape[1])
    decoded = sae.decode(latents) - sae.decode(torch.zeros_like(latents))
    assert torch.allclose((latents * norms) @ directions, decoded, atol=1e-4)
