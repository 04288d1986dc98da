"""Does taking a child's direction apart find the parent that it absorbed? What meta-SAEs are hoped to do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from saebench.record.score import Estimate, Unscored
from saebench.stats.statistics import CONFIDENCE, Floats

if TYPE_CHECKING:
    from saebench.evidence.meta_sae import MetaSAE, MetaStructure
    from saebench.metrics.kin import Kin

FEWEST = 4
"""Children that absorbed their parent, and that did not, and parents of each."""


def absorbed_found(meta: MetaStructure, kin: Kin) -> Estimate:
    """Share of a child's meta-decomposition that is its parent's meta-latent: children that absorbed, minus children that did not.

    The parent's meta-latent is the one with the largest cosine with the decoder direction of the parent's latent. A child
    absorbed where the parent's latent is at most half as active with it as elsewhere, and did not from three quarters on.
    0 means that a meta-SAE does not tell them apart; the floor is the same with other children's parents. Controls: both
    shares, and `cosine`, the same difference of the plain cosine of the two directions, which needs no meta-SAE.
    Raises Unscored where fewer than four children did, or did not, or they have fewer than four parents.
    """
    _check_enough(kin)
    share, shuffled = _shares(meta.own.first, kin)
    estimate = _apart(share, kin)
    cosine = (kin.parent * kin.child).sum(1).double().numpy()
    _, again = _apart_value(_shares(meta.own.second, kin)[0], kin)
    controls = {
        "absorbed": float(share[kin.absorbing].mean()), "not_absorbed": float(share[kin.free].mean()),
        "absorbed_has_it": float((share[kin.absorbing] > 0).mean()), "second_seed": again,
        "not_absorbed_has_it": float((share[kin.free] > 0).mean()), "cosine": _apart_value(cosine, kin)[1],
        "absorbing_children": float(kin.absorbing.sum()), "other_children": float(kin.free.sum()),
    }  # fmt: skip
    return replace(estimate, floor=_apart_value(shuffled, kin)[1], controls=controls)


def _shares(made: MetaSAE, kin: Kin) -> tuple[Floats, Floats]:
    """(pair,) share of the child's codes at its own parent's meta-latent, and the mean of that at others' parents'."""
    shares = made.shares(kin.child)
    at: Int[np.ndarray, " pair"] = (kin.parent @ made.decoder.T).argmax(1).numpy()
    every = shares[:, at]
    other = kin.name[:, None] != kin.name[None, :]
    return np.diagonal(every).copy(), (every * other).sum(1) / np.maximum(other.sum(1), 1)


def _check_enough(kin: Kin) -> None:
    counts = [int(each.sum()) for each in (kin.absorbing, kin.free)]
    parents = [len(np.unique(kin.name[each])) for each in (kin.absorbing, kin.free)]
    if min(counts) < FEWEST or min(parents) < FEWEST:
        raise Unscored(
            f"{counts[0]} children absorbed their parent, of {parents[0]} parents, and {counts[1]} did not, of"
            f" {parents[1]}: fewer than {FEWEST}, so that there is nothing to compare"
        )


def _apart_value(value: Float[np.ndarray, " pair"], kin: Kin) -> tuple[Floats, float]:
    """(pair,) what each pair adds to the difference of means beside the mean of its own kind, and the difference."""
    added = np.zeros(len(value))
    for chosen, sign in ((kin.absorbing, 1.0), (kin.free, -1.0)):
        added[chosen] = sign * (value[chosen] - value[chosen].mean()) / chosen.sum()
    return added, float(value[kin.absorbing].mean() - value[kin.free].mean())


def _apart(value: Float[np.ndarray, " pair"], kin: Kin) -> Estimate:
    """Difference of two means with an interval over parents, by the errors of their pairs together (Student's t)."""
    from scipy import stats

    added, difference = _apart_value(value, kin)
    counts = kin.absorbing | kin.free
    names, parent = np.unique(kin.name[counts], return_inverse=True)
    each = np.bincount(parent, added[counts])
    n, fewest = len(names), min(len(np.unique(kin.name[chosen])) for chosen in (kin.absorbing, kin.free))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, fewest - 1) * (n / (n - 1) * (each**2).sum()) ** 0.5)
    items = {
        "contribution": difference + n * each, "item": names,
        "absorbed": kin.absorbed, "share": value, "parent": kin.name,
    }  # fmt: skip
    return Estimate(difference, difference - half, difference + half, n, "parent", items=items)
