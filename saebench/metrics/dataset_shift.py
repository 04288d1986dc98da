"""Are features the model's or the data's? An SAE's latents for texts that its model never saw, and who else has them.

Heimersheim's first example: if features belong to the model, an SAE that was not shown a kind of text still finds the
same latents for it as one that was. Two SAEs that differ in their seed alone do not find the same ones either, which is
the floor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np
from jaxtyping import Bool, Float
from scipy import sparse

from saebench.record.score import Estimate, Unscored
from saebench.saes.sparsity import turned
from saebench.stats.statistics import Bools, Floats, never_certain, ratio_of_sums

SAME_CORRELATION = 0.7
"""Correlation of activations from which two latents count as one."""
FIRES = 10
"""Tokens of the genre on which a latent is active, to be one that fires on it."""
SPECIFIC = 4.0
"""A latent is specific to a genre if it is active there this many times as often as elsewhere."""
FEWEST_FIRING = 20
"""Latents that fire on the genre; of fewer no share is told."""
ROUNDING = 1e-10
"""Share of a latent's mean square below which its variance is nothing but rounding."""


@dataclass(frozen=True)
class Firing:
    """What an SAE's latents do on texts of one genre, and how often they are active on all others."""

    latents: sparse.csr_array
    """(token, latent) on texts of the genre; two SAEs that are compared read the same ones."""
    elsewhere: Float[np.ndarray, " latent"]
    """Share of tokens of other texts on which each is active."""

    @property
    def count(self) -> Float[np.ndarray, " latent"]:
        """(latent,) tokens of the genre on which each is active."""
        return np.bincount(self.latents.indices, minlength=self.latents.shape[1]).astype(np.float64)

    @property
    def rate(self) -> Float[np.ndarray, " latent"]:
        """(latent,) share of the genre's tokens on which each is active."""
        return np.asarray(self.count / self.latents.shape[0])

    @property
    def fires(self) -> Bool[np.ndarray, " latent"]:
        found: Bools = self.count >= FIRES
        return found

    @property
    def specific(self) -> Bool[np.ndarray, " latent"]:
        """(latent,) whether it fires, and mostly there."""
        found: Bools = self.fires & (self.rate >= SPECIFIC * self.elsewhere)
        return found


def missing(own: Firing, other: Firing) -> Bool[np.ndarray, " latent"]:
    """(latent,) whether no latent of the other SAE is active where it is: all correlations below `SAME_CORRELATION`."""
    a, b = (sparse.csc_array(turned(firing.latents)).astype(np.float64) for firing in (own, other))
    n = a.shape[0]
    (mean_a, sd_a), (mean_b, sd_b) = (_moments(side) for side in (a, b))
    best = np.full(a.shape[1], -1.0)
    product = (a.T @ b).tocoo()
    covariance = product.data / n - mean_a[product.row] * mean_b[product.col]
    # A latent that does not vary has an infinite deviation here, so that it is like no other.
    np.maximum.at(best, product.row, covariance / (sd_a[product.row] * sd_b[product.col]))
    return best < SAME_CORRELATION


def _moments(columns: sparse.csc_array) -> tuple[Floats, Floats]:
    n = columns.shape[0]
    mean = np.asarray(columns.sum(axis=0)).ravel() / n
    square = np.asarray(columns.multiply(columns).sum(axis=0)).ravel() / n
    variance = square - mean**2
    return mean, np.where(variance > ROUNDING * square, np.sqrt(np.maximum(variance, 0)), np.inf)


def dataset_features(own: Firing, without: Sequence[Firing], seeds: Sequence[Firing]) -> Estimate:
    """Share of the latents that fire on a genre that only their SAE's data had, and that SAEs without it do not have.

    `own` is of the SAE that saw the genre, `without` of SAEs of the same configuration and another seed that did not.
    The floor is the share that is missing between any two of `seeds`, which differ in nothing else: what is above it is
    the data's. The control `specific` is the same for latents that are mostly for the genre.
    Raises Unscored where too few latents fire on it.
    """
    if own.fires.sum() < FEWEST_FIRING or len(without) < 1 or len(seeds) < 2:
        raise Unscored(
            f"{own.fires.sum()} latents fire on the genre, {len(without)} SAEs of another seed did not see it, and"
            f" {len(seeds)} seeds tell what a seed alone changes: {FEWEST_FIRING}, 1 and 2 are needed"
        )
    gone = np.mean([missing(own, other) for other in without], axis=0)
    if silent := sum(not seed.fires.any() for seed in seeds):
        raise Unscored(f"no latent of {silent} of {len(seeds)} seeds fires on the genre, so that there is no floor")
    pairs = [(a, missing(a, b)) for a, b in permutations(seeds, 2)]
    floor = float(np.mean([absent[a.fires].mean() for a, absent in pairs]))
    estimate = ratio_of_sums(
        gone[own.fires], np.ones(int(own.fires.sum())), purpose="distinguishability.dataset_features", n_unit="latent"
    )
    estimate = never_certain(estimate, 0.0, 1.0)
    controls = {"floor": floor, "firing": float(own.fires.sum()), "specific_latents": float(own.specific.sum())}
    if own.specific.any():
        controls["specific"] = float(gone[own.specific].mean())
    if any(a.specific.any() for a, _ in pairs):
        controls["specific_floor"] = float(
            np.mean([absent[a.specific].mean() for a, absent in pairs if a.specific.any()])
        )
    items = {
        **estimate.items,
        "latent": np.flatnonzero(own.fires),
        "specific": own.specific[own.fires].astype(np.float64),
    }
    return replace(estimate, floor=floor, controls=controls, items=items)
