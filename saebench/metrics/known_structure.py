"""What an SAE makes of features that hang together: is a parent absorbed by its child, are two atoms one latent?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from saebench.metrics.known_truth import LIKE, slim, summed
from saebench.record.score import Estimate, Unscored
from saebench.stats.statistics import Bools, Floats, Ints, never_certain, proportion, ratio_of_sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saebench.evidence.known import Known

MARGIN = 0.1
"""By how much the cosine with a sum of two atoms must exceed that with one of them."""
COMPETENT = 0.5
"""How often a parent's latent must be active where the parent is on alone, and its cosine, for absorption to be asked."""
FEWEST_SAMPLES, FEWEST_PAIRS = 20, 4
Pairs = tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]


def _pairs(known: Known, block: str | None, depth: int | None = None) -> Pairs:
    """Parents and their children, of one block or of all in which the child implies its parent; both usable."""
    children = known.truth.implying if block is None else (known.truth.parent >= 0) & known.block(block)
    has = children & known.usable
    if depth is not None:
        has &= known.truth.depth == depth
    child = np.flatnonzero(has)
    parent = known.truth.parent[child]
    kept = known.usable[parent]
    if not kept.any():
        raise Unscored(f"the world {known.world.name} has no parents with children")
    return parent[kept], child[kept]


def absorption(known: Known, measure: str, block: str | None = None, depth: int | None = None) -> Estimate:
    """1 - (the parent's latent where a child is on) / (it where the parent is on without any child): 0 = not absorbed.

    `measure` says what of the latent: "firing", how often it is active, or "magnitude", its mean activation over the
    parent's own magnitude. Means over pairs of a parent and a child, of one `block` or of all in which a child implies
    its parent, of children at one `depth` or at all. A pair counts where the parent's latent is the parent's: its cosine,
    and the share of the samples with the parent alone on which it is active, are at least .5. Raises Unscored where
    fewer than four pairs count.
    """
    parent, child = _pairs(known, block, depth)
    fires = means(known, known.sae.said, known.on, parent, child)
    with_child, alone = fires if measure == "firing" else means(known, known.sae.own, known.features, parent, child)
    own = (np.nan_to_num(fires[1]) >= COMPETENT) & (known.sae.cosine[parent] >= COMPETENT)
    counts = np.isfinite(with_child) & own
    each = np.where(counts, 1 - with_child / np.where(counts, alone, 1.0), 0.0)
    found = _of_pairs(known, parent, each, counts, "parents", f"known_truth.absorption of {measure}")
    return replace(found, controls={**found.controls, "pairs": float(len(parent))})


def means(
    known: Known,
    value: sparse.csc_array,
    size: sparse.csc_array,
    parent: Int[np.ndarray, " pair"],
    child: Int[np.ndarray, " pair"],
) -> tuple[Float[np.ndarray, " pair"], Float[np.ndarray, " pair"]]:
    """(pair,) the parent's latent per `size` of the parent, where both are on, and where it is on without a child.

    NaN where there are too few samples.
    """
    both = known.on[:, parent].multiply(known.on[:, child])
    return _mean(both, value[:, parent], size[:, parent]), _mean(
        known.alone[:, parent], value[:, parent], size[:, parent]
    )


def _mean(samples: sparse.csc_array, value: sparse.csc_array, size: sparse.csc_array) -> Floats:
    count, total, of = (
        np.asarray(m.sum(axis=0)).ravel() for m in (samples, *(samples.multiply(m) for m in (value, size)))
    )
    enough = count >= FEWEST_SAMPLES
    return np.where(enough, total / np.where(enough, of, 1.0), np.nan)


def _of_pairs(known: Known, parent: Ints, each: Floats, counts: Bools, whose: str, purpose: str) -> Estimate:
    """Mean over pairs that count, with its interval over trees. Raises Unscored where they are too few."""
    if counts.sum() < FEWEST_PAIRS:
        raise Unscored(f"{counts.sum()} of {len(parent)} {whose} have a latent of their own: fewer than {FEWEST_PAIRS}")
    _, cluster = np.unique(known.truth.cluster[parent[counts]], return_inverse=True)
    sums = [summed(cluster, weights) for weights in (each[counts], np.ones(int(counts.sum())))]
    return never_certain(slim(ratio_of_sums(sums[0], sums[1], purpose=purpose, n_unit="tree")), 0.0, 1.0)


def absorbed_direction(known: Known, block: str | None = None) -> Estimate:
    """How much of the parent's direction is in the child's latent, over how much of the child's: 0 = none, 1 = as much.

    Both by least squares from the latent's decoder direction. Children count whose latent has a cosine of at least .5.
    """
    parent, child = _pairs(known, block)
    counts, each = _mixed_in(known, child, parent)
    return _of_pairs(known, parent, each, counts, "children", "known_truth.absorbed_direction")


def hedging(known: Known, block: str | None = None) -> Estimate:
    """How much of its child's direction is in a parent's latent, over how much of the parent's own: 0 = none is mixed in.

    After Chanin, Dulka and Garriga-Alonso (arXiv 2505.11756). Parents count whose latent has a cosine of at least .5.
    """
    parent, child = _pairs(known, block)
    counts, each = _mixed_in(known, parent, child)
    return _of_pairs(known, parent, each, counts, "parents", "known_truth.hedging")


def _mixed_in(known: Known, own: Ints, other: Ints) -> tuple[Bools, Floats]:
    """(pair,) which features `own` have a latent, and its share along `other` over that along `own`, by least squares."""
    rows, latent = known.truth.directions.double().numpy(), known.sae.latent_of[own]
    cosine = (rows[own] * rows[other]).sum(axis=1)
    with_own, with_other = known.sae.cosines[own, latent], known.sae.cosines[other, latent]
    counts = known.sae.cosine[own] >= COMPETENT
    along_own = np.where(counts, with_own - cosine * with_other, 1.0)
    return counts, np.where(counts, (with_other - cosine * with_own) / along_own, 0.0)


def composition(known: Known, block: str) -> Estimate:
    """Share of the latents of two groups of atoms that are a sum of two atoms, one of each group, and not one alone.

    A latent is of the groups if its cosine with an atom, or with a sum of two, is at least .7; it is a sum if that cosine
    is larger than the one with any atom, by at least .1.
    """
    single, double = _fits(known, block)
    of_block = np.maximum(single, double) >= LIKE
    if of_block.sum() < FEWEST_PAIRS:
        raise Unscored(f"{of_block.sum()} latents are of these atoms: fewer than {FEWEST_PAIRS}")
    return proportion(int((of_block & (double > single + MARGIN)).sum()), int(of_block.sum()), n_unit="latent")


def _fits(known: Known, block: str) -> tuple[Floats, Floats]:
    """(latent,) best cosine with an atom, and with the normalised sum of two."""
    chosen = known.block(block)
    first, second = (known.sae.cosines[chosen & (known.truth.group == group)] for group in (0, 1))
    if not len(first):
        raise Unscored(f"the world {known.world.name} has no such features")
    double: NDArray[np.float64] = (first[:, None] + second[None]).max(axis=(0, 1)) / 2**0.5
    return np.maximum(first.max(axis=0), second.max(axis=0)), double


def atoms(known: Known, block: str) -> Estimate:
    """Mean cosine of the atoms of two groups with their latents, matched one to one; 0 = as random directions, 1 = all."""
    _fits(known, block)
    of_block = known.block(block) & known.usable
    own, random = (np.where(of_block, side.cosine, 0.0) for side in (known.sae, known.random))
    estimate = ratio_of_sums(
        (own - random)[of_block], (1 - random)[of_block], purpose="known_truth.atoms", n_unit="atom"
    )
    return never_certain(estimate, 0.0, 1.0)
