"""Which latents are of the topic: those that fire on its texts, and hardly anywhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from saebench.record.score import Unscored
from saebench.saes.sparsity import sides
from saebench.stats.statistics import Ints, seed_of

RARE = (0.001, 0.01)
"""Shares of the tokens to be kept on which a latent may fire, to be of the topic."""
COUNTS = (1, 5, 20)
"""How many latents are clamped."""
STRONG = 0.99
"""A latent's unit is this quantile of its own activations, so that its scale does not matter."""
NEIGHBOURS = 10
"""Latents that fire about as often as one, of which one is drawn in its place."""


@dataclass(frozen=True)
class Firing:
    """What each latent does on the texts that latents are chosen by."""

    forget: Float[np.ndarray, " latent"]
    """Share of the topic's tokens on which it is active."""
    retain: Float[np.ndarray, " latent"]
    unit: Float[np.ndarray, " latent"]
    """A high activation of its own, on its positive side; 0 for a latent that is never active."""
    side: Float[np.ndarray, " latent"]
    """1 or -1: the sign of its activations."""

    @property
    def rate(self) -> Float[np.ndarray, " latent"]:
        """How often it is active on both kinds of texts, which count alike."""
        return np.asarray((self.forget + self.retain) / 2)


def firing(forget: sparse.csr_array, retain: sparse.csr_array) -> Firing:
    """Of latents (token, latent) on texts of the topic and on all others. Raises Unscored where none is active."""
    side = sides(forget, retain).astype(np.float64)
    both = sparse.csc_array(sparse.vstack([forget, retain], format="csc"))
    both.data = both.data * np.repeat(side, np.diff(both.indptr)).astype(both.data.dtype)
    if not (both.data > 0).any():
        raise Unscored("no latent is active on the topic's texts or on the others: there is nothing to clamp")
    rates = [
        np.bincount(m.indices[m.data * side[m.indices] > 0], minlength=len(side)) / m.shape[0] for m in (forget, retain)
    ]
    return Firing(forget=rates[0], retain=rates[1], unit=_high(both), side=side)


def _high(columns: sparse.csc_array) -> np.ndarray:
    """(latent,) the `STRONG` quantile of what is positive in each column: the next larger of its entries."""
    positive = columns.data > 0
    column = np.repeat(np.arange(columns.shape[1]), np.diff(columns.indptr))[positive]
    value = columns.data[positive].astype(np.float64)
    order = np.lexsort((value, column))
    count = np.bincount(column, minlength=columns.shape[1])
    place = np.cumsum(count) - count + np.ceil(STRONG * np.maximum(count - 1, 0)).astype(np.intp)
    return np.where(count > 0, value[order][np.minimum(place, len(value) - 1)], 0.0)


def of_topic(found: Firing, rare: float, count: int = max(COUNTS)) -> Int[np.ndarray, " n"]:
    """Latents by how often they fire on the topic, of those that hardly fire elsewhere, and more often on the topic.

    Where two are equal in both rates, the one that comes first in the SAE.
    """
    able = np.flatnonzero((found.retain <= rare) & (found.forget > found.retain))
    order = np.lexsort((able, found.retain[able], -found.forget[able]))
    chosen: Ints = able[order][:count]
    return chosen


def random_like(found: Firing, chosen: Int[np.ndarray, " n"], purpose: str) -> Int[np.ndarray, " drawn"]:
    """As many other latents that fire about as often, on whatever, or all others: for each, one of those nearest to it."""
    rng = np.random.default_rng(seed_of(purpose))
    left = np.setdiff1d(np.flatnonzero(found.rate > 0), chosen)
    drawn: list[int] = []
    for latent in chosen[: len(left)]:
        near = left[np.argsort(np.abs(found.rate[left] - found.rate[latent]), kind="stable")[:NEIGHBOURS]]
        drawn.append(int(rng.choice(near)))
        left = left[left != drawn[-1]]
    return np.array(drawn, dtype=np.intp)


def check_some(lists: Sequence[Int[np.ndarray, " _"]]) -> None:
    """Raises Unscored where no latent is of the topic at any threshold."""
    if not any(len(latents) for latents in lists):
        raise Unscored(
            f"every latent that fires on the topic fires on more than {max(RARE):.0%} of the other tokens as well, or as"
            " often there: there is no latent of the topic to clamp"
        )
