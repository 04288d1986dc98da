"""Tests of order, agreement and separation by permutation; no scipy, which takes long to import."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import combinations, permutations
from typing import NamedTuple

import numpy as np

from saebench.stats.statistics import CONFIDENCE, RESAMPLES, Floats, seed_of

PERMUTATIONS = 10_000
ROUNDED_SHARE = 1e-9
"""Values that differ by less than this share of the larger one are the same: what rounding leaves."""


class Trend(NamedTuple):
    """How well blocks of values keep an order in which each is to be smaller than the one before."""

    tau: float
    """Kendall's tau, of all pairs within blocks: 1 = as predicted, -1 = the other way round."""
    p_falls: float
    """Chance of at least so much order in the predicted direction, if the values of each block came in any order."""
    p_rises: float


def trend(blocks: Sequence[Sequence[float]]) -> Trend:
    """Jonckheere and Terpstra's test of order within blocks, one value per level, with its exact distribution.

    Blocks may be of different lengths; they are taken to be independent.
    """
    found = sum(concordance(block) for block in blocks)
    chances: dict[int, float] = {0: 1.0}
    for block in blocks:
        chances = _sum_of(chances, _by_chance(_ranks(block)))
    falls = sum(chance for value, chance in chances.items() if value >= found)
    rises = sum(chance for value, chance in chances.items() if value <= found)
    pairs = sum(len(block) * (len(block) - 1) // 2 for block in blocks)
    return Trend(found / max(pairs, 1), min(falls, 1.0), min(rises, 1.0))


def concordance(values: Sequence[float]) -> int:
    """Pairs in which the later value is smaller, minus those in which it is larger."""
    return sum(_sign(first, second) for first, second in combinations(values, 2))


def _sign(first: float, second: float) -> int:
    return 0 if abs(first - second) <= ROUNDED_SHARE * max(abs(first), abs(second)) else 1 if first > second else -1


def _ranks(block: Sequence[float]) -> tuple[int, ...]:
    """How many others each value exceeds: the order of a block and its ties, and nothing else."""
    return tuple(sum(_sign(value, other) > 0 for other in block) for value in block)


@cache
def _by_chance(ranks: tuple[int, ...]) -> Mapping[int, float]:
    counts = Counter(concordance(order) for order in permutations(ranks))
    total = counts.total()
    return {value: count / total for value, count in counts.items()}


def _sum_of(chances: Mapping[int, float], others: Mapping[int, float]) -> dict[int, float]:
    """Distribution of the sum of two independent whole numbers."""
    found: dict[int, float] = {}
    for value, chance in chances.items():
        for other, also in others.items():
            found[value + other] = found.get(value + other, 0.0) + chance * also
    return found


def spearman(values: Sequence[float], truth: Sequence[float]) -> tuple[float, float]:
    """Spearman's rho, and the chance of one as large by permutation; rho is 0 where either does not vary."""
    own, other = _centred_ranks(values), _centred_ranks(truth)
    norm = float(np.sqrt((own @ own) * (other @ other)))
    if norm == 0:
        return 0.0, 1.0
    drawn = _shuffled(own) @ other
    found = float(own @ other)
    return found / norm, _share((drawn >= found - ROUNDED_SHARE * norm).sum())


def spearman_interval(values: Sequence[float], truth: Sequence[float]) -> tuple[float, float]:
    """The 95% interval of Spearman's rho, with pairs drawn anew; rho is 0 where either does not vary."""
    rng = np.random.default_rng(seed_of(f"{len(values)} pairs drawn anew"))
    rows = rng.integers(len(values), size=(RESAMPLES, len(values)))
    own, other = (_centred_ranks(np.asarray(side, dtype=np.float64)[rows]) for side in (values, truth))
    norm = np.sqrt((own**2).sum(axis=-1) * (other**2).sum(axis=-1))
    rho = np.where(norm > 0, (own * other).sum(axis=-1) / np.where(norm > 0, norm, 1.0), 0.0)
    low, high = np.quantile(rho, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def separation(groups: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Spread between the means of groups over the spread within, as standard deviations; and its chance by permutation.

    Groups are of two values or more. The ratio is infinite where nothing varies within.
    """
    values = np.concatenate([np.asarray(group, dtype=np.float64) for group in groups])
    member = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    one_hot = (member[:, None] == np.arange(len(groups))).astype(np.float64)
    sizes, values = one_hot.sum(axis=0), values - values.mean()

    def within(drawn: Floats) -> Floats:
        squares: Floats = (drawn**2).sum(axis=-1) - ((drawn @ one_hot) ** 2 / sizes).sum(axis=-1)
        return squares

    total = float((values**2).sum())
    if total <= ROUNDED_SHARE**2:
        return 0.0, 1.0
    left = float(within(values))
    # The less varies within, the more varies between: their sum stays.
    p = _share((within(_shuffled(values)) <= left + ROUNDED_SHARE * total).sum())
    inside = left / (len(values) - len(groups))
    between = (total - left) / (len(groups) - 1)
    return (float(np.sqrt(between / inside)) if inside > ROUNDED_SHARE * total else np.inf), p


def _centred_ranks(values: Sequence[float] | Floats) -> Floats:
    """Ranks around zero, along the last axis; equal values share theirs."""
    array = np.asarray(values, dtype=np.float64)
    one, other = array[..., :, None], array[..., None, :]
    ranks: Floats = (one > other).sum(axis=-1) - (one < other).sum(axis=-1) + 0.0
    return ranks


def _shuffled(values: Floats) -> Floats:
    """(permutation, value)"""
    rng = np.random.default_rng(seed_of(f"{len(values)} values shuffled"))
    return rng.permuted(np.tile(values, (PERMUTATIONS, 1)), axis=1)


def _share(as_extreme: int) -> float:
    """p-value of a permutation test, in which what was found is one of the permutations."""
    return (int(as_extreme) + 1) / (PERMUTATIONS + 1)
