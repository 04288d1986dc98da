"""Are decoder directions compositions of fewer directions? After Leask et al. 2025 (arXiv 2502.04878).

A meta-SAE is trained on the unit decoder directions of the latents that are alive (2,048 of them at most): batch top-k,
a quarter as many meta-latents as directions, 4 of them per direction. Random unit rows with the same mean and covariance
are taken apart by meta-SAEs that are trained alike: a meta-SAE remembers rows, and follows their covariance, whatever
they are, and so does it with these. SAEBench's number of the same name is the control `seen`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from saebench.record.score import Estimate
from saebench.stats.statistics import Bools, Floats, never_certain, proportion, ratio_of_sums

if TYPE_CHECKING:
    from saebench.evidence.meta_sae import MetaSAE, MetaStructure, Taken

RARE = 0.95
"""Share of random rows that a latent has to exceed, to count as made of several."""
ENOUGH = 0.8
"""Share of a direction from which on one meta-latent is all that it needs."""
ROUNDING = 1e-6
"""Least share of a direction that counts as left."""


def explained(meta: MetaStructure) -> Estimate:
    """Variance of unit decoder directions that a meta-SAE explains which has not seen them: k = 4, 4 times narrower.

    The fifth of the latents' directions that are held out; the floor is the same of random rows with their mean and
    covariance. Below the floor, directions are further apart than random ones. The controls `seen` and `seen_random` are
    the same of rows that the meta-SAE was trained on. Neither more nor less is better: what is composed may be so in the
    model, and directions that learned nothing explain nothing of each other.
    """
    own, random = (_variance(taken.blind, taken, taken.unseen) for taken in (meta.own, meta.random))
    estimate = ratio_of_sums(*own, purpose="meta_structure.explained", n_unit="latent")
    every = np.ones(len(meta.unit.rows), dtype=bool)
    seen, seen_random = (_ratio(*_variance(taken.first, taken, every)) for taken in (meta.own, meta.random))
    return replace(
        estimate,
        floor=_ratio(*random),
        controls={**estimate.controls, "seen": seen, "seen_random": seen_random, **_read(meta)},
        items={**estimate.items, "latent": meta.unit.latents[meta.own.unseen]},
    )


def atoms(meta: MetaStructure) -> Estimate:
    """Share of latents that need several meta-latents: one explains less than .8, and further ones most of what it leaves.

    Of the variance of a latent's unit decoder direction, with 4 meta-latents at most. "Most" is more of what the best
    single one leaves than further ones explain of 95% of random rows with the directions' mean and covariance; the floor
    is the share of random rows that need several in a second meta-SAE. A direction that nothing explains needs none.
    """
    single, own = _further(meta.own.first, meta.own)
    bar = float(np.quantile(_further(meta.random.first, meta.random)[1], RARE))
    needs = (own > bar) & (single < ENOUGH)
    estimate = proportion(int(needs.sum()), len(needs), n_unit="latent")
    random_single, random = _further(meta.random.second, meta.random)
    items = {"contribution": needs.astype(np.float64), "latent": meta.unit.latents, "single": single, "further": own}
    controls = {"bar": bar, "median": float(np.median(own)), "one_is_enough": float((single >= ENOUGH).mean())}
    floor = float(((random > bar) & (random_single < ENOUGH)).mean())
    return replace(estimate, floor=floor, items=items, controls=controls)


def stability(meta: MetaStructure) -> Estimate:
    """Largest cosine of a meta-latent with one of a second meta-SAE of another seed, mean over meta-latents.

    Both are trained on the unit decoder directions of the same latents; the floor is the same of random rows with their
    mean and covariance, which two meta-SAEs remember alike as well.
    """
    own, random = (_matches(taken) for taken in (meta.own, meta.random))
    estimate = ratio_of_sums(own, np.ones_like(own), purpose="meta_structure.stability", n_unit="meta-latent")
    return replace(never_certain(estimate, -1.0, 1.0), floor=float(random.mean()))


def _variance(made: MetaSAE, taken: Taken, chosen: Bools) -> tuple[Floats, Floats]:
    """(chosen row,) variance explained, and all of it, around the mean of the rows that were seen."""
    rows, mean = taken.rows[chosen], taken.rows[~taken.unseen].mean(0)
    every = (rows - mean).square().sum(1).double().numpy()
    around = (rows - made.bias).square().sum(1).double().numpy()
    return made.explained(rows) + every - around, every


def _ratio(explained: Floats, every: Floats) -> float:
    return float(explained.sum() / every.sum())


def _further(made: MetaSAE, taken: Taken) -> tuple[Floats, Floats]:
    """(row,) share of a row that the best single meta-latent explains, and share of the rest that further ones do."""
    around: Floats = (taken.rows - made.bias).square().sum(1).double().numpy()
    single = made.single(taken.rows)
    left = np.maximum(around - single, ROUNDING * around)
    return np.asarray(single / around), np.asarray((made.explained(taken.rows) - single) / left)


def _matches(taken: Taken) -> Floats:
    return np.asarray((taken.first.decoder @ taken.second.decoder.T).amax(1).double().numpy())


def _read(meta: MetaStructure) -> dict[str, float]:
    return {"directions": float(len(meta.unit.rows)), "alive": float(meta.unit.alive)}
