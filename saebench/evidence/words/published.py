"""Absorption as SAEBench publishes it: full rate and fraction of version 0.6.0, and the fraction of 0.3.2.

Karvonen et al. 2025 (arXiv 2503.09532); the published results of January 2025 used the fraction of 0.3.2. All three
are functions of what they are given: words in rows, activations, probe and split latents. Decoder rows are unit
vectors here, as they are in the SAEs that SAEBench accepts; elsewhere activations are times the norms of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from numpy.typing import NDArray

from saebench.stats.statistics import Bools, Floats

if TYPE_CHECKING:
    from scipy import sparse

FULL_COSINE = 0.025
"""Least cosine of the absorbing latent and the probe in a full absorption, as published."""
FRACTION_COSINE = 0.1
"""The same of the latents that a fraction counts, as published."""
SHARE = 0.4
"""Least share of the activation's projection on the probe that the absorbing latents must hold."""
ABSORBERS = 3
"""Latents that a fraction counts at most, as published."""
SILENT = 1e-8
"""An activation below it is none, as published."""


@dataclass(frozen=True)
class Projections:
    """Active latents of words, in rows padded to the same length, on the unit probe direction of one concept."""

    latent: Int[np.ndarray, "row slot"]
    """Index of the latent; -1 where the row has no more."""
    activation: Float[np.ndarray, "row slot"]
    cosine: Float[np.ndarray, "row slot"]
    """Of decoder row and probe."""
    is_split: Bool[np.ndarray, "row slot"]
    """Whether the latent is one of the concept's split latents."""
    total: Float[np.ndarray, " row"]
    """Projection of the activation itself, neither centred nor with the probe's bias."""

    @cached_property
    def value(self) -> Float[np.ndarray, "row slot"]:
        """(row, slot) projection of what each latent writes."""
        return np.asarray(self.activation * self.cosine)

    @cached_property
    def main(self) -> Float[np.ndarray, " row"]:
        """(row,) projection of the split latents together."""
        found: Floats = np.where(self.is_split, self.value, 0.0).sum(axis=1)
        return found

    @cached_property
    def silent(self) -> Bool[np.ndarray, " row"]:
        """(row,) whether every split latent is silent."""
        loud: Bools = np.any(self.is_split & (np.abs(self.activation) >= SILENT), axis=1)
        return ~loud

    @cached_property
    def top(self) -> Int[np.ndarray, " row"]:
        """(row,) slot of the latent with the largest projection."""
        found: NDArray[np.intp] = np.where(self.latent >= 0, self.value, -np.inf).argmax(axis=1)
        return found

    def at_top(self, values: Shaped[np.ndarray, "row slot"]) -> Shaped[np.ndarray, " row"]:
        """(row,) of values (row, slot), those of the top latent."""
        return np.take_along_axis(values, self.top[:, None], axis=1)[:, 0]


def projections(
    latents: sparse.csr_array,
    cosines: Float[np.ndarray, " d_sae"],
    split: Int[np.ndarray, " split"],
    total: Float[np.ndarray, " row"],
) -> Projections:
    """Pad the sparse latents (row, d_sae) of some words; `cosines` is (d_sae,), `total` (row,)."""
    active = np.diff(latents.indptr)
    width = max(int(active.max(initial=0)), 1)
    filled = np.arange(width)[None, :] < active[:, None]
    latent = np.full(filled.shape, -1, dtype=np.intp)
    activation = np.zeros(filled.shape)
    latent[filled], activation[filled] = latents.indices, latents.data
    cosine = np.where(filled, cosines[latent], 0.0).astype(np.float64)
    return Projections(latent, activation, cosine, filled & np.isin(latent, split), np.asarray(total, dtype=np.float64))


def full_absorption(
    words: Projections, *, cosine: float = FULL_COSINE, share: float = SHARE
) -> Bool[np.ndarray, " row"]:
    """(row,) whether all split latents are silent and another latent holds the concept in their place (0.3.2, 0.6.0)."""
    aligned = words.at_top(words.cosine) >= cosine
    with np.errstate(divide="ignore", invalid="ignore"):
        holds = words.at_top(words.value) / words.total >= share
    found: Bools = words.silent & aligned & (words.total >= 0) & holds & (words.at_top(words.latent) >= 0)
    return found


def fraction_0_6_0(words: Projections) -> Float[np.ndarray, " row"]:
    """(row,) share of the concept's projection that up to three aligned latents hold beside the split latents."""
    absorbing = ~words.is_split & (words.cosine >= FRACTION_COSINE) & (words.value > 0)
    held = -np.sort(-np.where(absorbing, words.value, 0.0), axis=1)[:, :ABSORBERS].sum(axis=1)
    main, total = words.main, words.total
    with np.errstate(divide="ignore", invalid="ignore"):
        none = (main >= total) | ~(held / total >= SHARE)
        taken = np.minimum(held, total - main)
        partial = np.clip(taken / (taken + main), 0.0, 1.0)
    return np.where(none, 0.0, np.where(main <= 0, 1.0, partial))


def fraction_0_3_2(words: Projections) -> Float[np.ndarray, " row"]:
    """(row,) share of all latents' projection that is not the split latents', without any threshold."""
    everything = words.value.sum(axis=1)
    none = (words.main >= words.total) | (everything <= 0)
    share = (everything - words.main) / np.where(none, 1.0, everything)
    return np.where(none, 0.0, np.clip(share, 0.0, 1.0))
