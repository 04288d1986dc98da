"""What loading a checkpoint comes to: an SAE that computes, or a sentence."""

from pathlib import Path

import torch
from hostile import D
from torch import Tensor

from saebench.catalogue.registry import resolve
from saebench.saes.loaders import load_sae
from saebench.saes.sae import LoadedSAE

LONGEST = 700


def inputs(d: int = D) -> Tensor:
    """On both sides of every threshold."""
    x = torch.randn(40, d, generator=torch.Generator().manual_seed(0)) + 1
    return torch.cat([x, -x, x / 50])


def loaded(path: Path) -> LoadedSAE:
    (spec,) = resolve(str(path))
    return load_sae(spec)


def check_sentence(sentence: str) -> None:
    assert len(sentence.splitlines()) == 1
    assert sentence.isprintable()
    assert len(sentence) <= LONGEST


def computed(sae: LoadedSAE) -> tuple[Tensor, Tensor]:
    x = inputs(sae.spec.d_in or D)
    latents = sae.encode(x)
    return latents, sae.decode(latents, x)
