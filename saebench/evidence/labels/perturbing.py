"""Probes of the activation, and what an SAE's latents add to what they say: taking latents away needs no further pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from saebench.evidence.labels.fitting import FEW_STRENGTHS, fitted
from saebench.evidence.labels.layout import Layout
from saebench.evidence.labels.parts import Part
from saebench.evidence.labels.probing import Gram, Labelled, coordinates, mean_over
from saebench.record.score import Unscored
from saebench.stats.statistics import seed_of

if TYPE_CHECKING:
    from scipy import sparse
    from torch import Tensor

    from saebench.evidence.labels.readings import Readings
    from saebench.saes.sae import LoadedSAE

CHECKED = 32
"""Texts at which it is found out whether what a latent adds is the same whatever else is on."""
EXACT = 1e-3
"""Of what is added, a difference that is rounding."""


@dataclass(frozen=True, eq=False)
class Probes:
    """Logistic probes of the pooled activation, one per set."""

    weight: Float[np.ndarray, "set d"]
    bias: Float[np.ndarray, " set"]

    def logits(self, x: Float[Tensor, "row d"], layout: Layout) -> Float[np.ndarray, "set text"]:
        """What each probe says of the texts of its own set; x has a row for every text there is."""
        every: Float[np.ndarray, "row set"] = x.double().numpy() @ self.weight.T + self.bias
        found: Float[np.ndarray, "set text"] = every[layout.text, np.arange(len(layout.text))[:, None]]
        return found


@dataclass(frozen=True, eq=False)
class Perturbed:
    """An SAE's latents at labelled texts, turned to their positive sides, and what each writes."""

    labelled: Labelled
    dictionary: Float[Tensor, "latent d"]
    """What one unit of each latent adds to the activation."""

    @property
    def readings(self) -> Readings:
        return self.labelled.readings

    @property
    def latents(self) -> sparse.csr_array:
        """(text, latent) in units of its mean where it is active."""
        return self.labelled.latents


def perturbed(sae: LoadedSAE, labelled: Labelled) -> Perturbed:
    """Read off what latents write. Raises Unscored where that depends on what else is on, as where outputs are normalised."""
    import torch
    from scipy import sparse

    from saebench.saes.sparsity import sides

    latents, unit = labelled.latents, labelled.unit
    directions, norms = sae.directions(latents.shape[1])
    written = (directions * (norms.double() * torch.from_numpy(unit))[:, None]).float()
    _check_affine(sae, labelled, written)
    side = sides(latents)
    turned = sparse.csr_array(
        (latents.data * side[latents.indices], latents.indices, latents.indptr), shape=latents.shape
    )
    own = Labelled(labelled.readings, turned, labelled.random, unit)
    return Perturbed(own, written * torch.from_numpy(side)[:, None])


def _check_affine(sae: LoadedSAE, labelled: Labelled, written: Tensor) -> None:
    import torch

    readings = labelled.readings
    x = readings.x[:CHECKED].float().to(sae.device)
    own = sae.encode(x)
    added = (sae.decode(own, x) - sae.decode(torch.zeros_like(own), x)).float().cpu()
    unit = torch.from_numpy(labelled.unit).to(own)
    expected = (own / unit).float().cpu() @ written
    if (added - expected).norm() > EXACT * added.norm().clamp(min=1e-12):
        raise Unscored("what a latent writes depends on the activation, so that it cannot be taken away on its own")


def probes(x: Float[Tensor, "text d"], layout: Layout) -> Probes:
    """Learned from train texts; how much weights are held back is chosen on validation texts."""
    import torch

    weights, biases = [], []
    rows = x.double()
    centre = rows.mean(0)
    scale = (rows - centre).square().mean().sqrt().clamp(min=1e-12)
    standard = ((rows - centre) / scale).float()
    for one in layout.each():
        learned = one.mask(Part.TRAIN, Part.VALIDATION)[0]
        said, basis = coordinates(Gram(standard).of(one.text[0]), learned)
        found = fitted(said[None], one, FEW_STRENGTHS)[0]
        weight = standard[torch.from_numpy(one.text[0][learned])].double().T @ (basis @ found[:-1]) / scale
        weights.append(weight)
        biases.append(found[-1] - weight @ centre)
    return Probes(torch.stack(weights).numpy(), torch.stack(biases).numpy())


def added(perturbed: Perturbed, found: Probes) -> Float[np.ndarray, "latent set"]:
    """What one unit of each latent adds to what each probe says."""
    said: Float[np.ndarray, "latent set"] = perturbed.dictionary.double().numpy() @ found.weight.T
    return said


def class_means(latents: sparse.csr_array, layout: Layout, *, own: bool) -> Float[np.ndarray, "set latent"]:
    """Mean of each latent over the texts of one class that are learned from."""
    side = layout.mask(Part.TRAIN, Part.VALIDATION) & (layout.positive == own)
    found: Float[np.ndarray, "set latent"] = (mean_over(layout, side, latents.shape[0]) @ latents).toarray()
    return found


def as_many(latents: sparse.csr_array, n: int | None) -> int:
    """n, or where it is None as many latents as are on at a text."""
    return n or max(1, round(latents.nnz / latents.shape[0]))


def random_latents(latents: sparse.csr_array, count: int, sets: int) -> list[Int[np.ndarray, " latent"]]:
    """For each set as many latents as are taken away from it, of those that are on anywhere."""
    rng = np.random.default_rng(seed_of("probe_perturbation.random"))
    active = np.flatnonzero(np.bincount(latents.indices, minlength=latents.shape[1]))
    return [rng.choice(active, min(count, len(active)), replace=False) for _ in range(sets)]
