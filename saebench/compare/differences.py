"""Is one score different from another by more than noise? Paired where both were measured on the same items."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saebench.record.items import Missing
from saebench.record.score import Score
from saebench.stats.statistics import CONFIDENCE, NORMAL, RESAMPLES, Floats, repetition, times_drawn, wider

Items = Mapping[str, NDArray[np.generic]]
FEWEST_PAIRS = 5
"""Shared items that a paired interval needs."""
LARGEST = 1e100
"""What is larger is nothing that was measured, and its square no number."""


def computable(score: Score) -> bool:
    """Whether a score has numbers that can be computed with: a value and an interval, finite and not absurdly large."""
    numbers = (score.value, score.ci_low, score.ci_high)
    return all(number is not None and abs(number) <= LARGEST for number in numbers)


@dataclass(frozen=True)
class Difference:
    """Score minus baseline with its 95% interval."""

    value: float
    ci_low: float
    ci_high: float
    error: float
    """Standard error."""
    n: int
    """Items that both were measured on; 0 where the two are not paired."""
    alone: str = ""
    """Why the two are not paired, where they could have been."""

    @property
    def paired(self) -> bool:
        return self.n > 0

    @property
    def known(self) -> bool:
        """Whether it could be computed; one that could not tells nothing, and least of all that nothing differs."""
        return all(map(math.isfinite, (self.value, self.ci_low, self.ci_high, self.error)))

    def p_above(self, limit: float) -> float:
        """One-sided p-value of a difference of at most `limit`: Student's t over items, or normal where unpaired."""
        from scipy import stats

        if self.error <= 0:
            return 0.0 if self.value > limit else 1.0
        freedom = self.n - 1 if self.paired else math.inf
        return float(stats.t.sf((self.value - limit) / self.error, freedom))

    def turned(self) -> "Difference":
        """Baseline minus score."""
        return Difference(-self.value, -self.ci_high, -self.ci_low, self.error, self.n, self.alone)


@dataclass(frozen=True)
class Shared:
    """Score minus baseline on the items of both."""

    value: float
    each: Floats
    """(item,)"""

    @property
    def error(self) -> float:
        """Standard error."""
        return float(self.each.std(ddof=1)) / float(len(self.each) ** 0.5)


def unpaired(score: Score, baseline: Score, alone: str = "") -> Difference:
    """The two 95% half-widths in quadrature, as for independent normal estimates.

    Where errors are correlated, as on the same texts, this is wider than needed.
    """
    value = (score.value or 0.0) - (baseline.value or 0.0)
    half = math.hypot(score.half_width() or 0.0, baseline.half_width() or 0.0)
    return Difference(value, value - half, value + half, half / NORMAL, 0, alone)


def paired(score: Score, baseline: Score, items: Items, baseline_items: Items) -> Difference | None:
    """Bootstrap of the difference over the items that both scores have; None where they cannot be paired.

    Items are documents, or concepts by name. Where one score has concepts that the other has not, the difference is
    that on the shared ones. The interval is of percentiles of 2,000 resamples, as much wider as Student's t is for so
    few items.
    """
    found = shared(score, baseline, items, baseline_items)
    if found is None:
        return None
    low, high = _deviations(found.each)
    return Difference(found.value, found.value + low, found.value + high, found.error, len(found.each))


def shared(score: Score, baseline: Score, items: Items, baseline_items: Items) -> Shared | None:
    """What `paired` is about, without its interval: a bootstrap for each pair of a board's SAEs would take minutes."""
    both = _shared(items, baseline_items)
    if both is None:
        return None
    each, all_shared = both
    value = (score.value or 0.0) - (baseline.value or 0.0) if all_shared else float(each.mean())
    return Shared(value, each)


def _shared(items: Items, baseline_items: Items) -> tuple[Floats, bool] | None:
    """(item,) differences of contributions, and whether either has no others."""
    own, other = (side.get("contribution") for side in (items, baseline_items))
    if own is None or other is None or ("item" in items) != ("item" in baseline_items):
        return None
    if "item" not in items:
        each = _floats(own) - _floats(other) if len(own) == len(other) else np.empty(0)
        return (each, True) if len(each) >= FEWEST_PAIRS else None
    names, at, other_at = np.intersect1d(items["item"], baseline_items["item"], return_indices=True)
    each = _floats(own[at]) - _floats(other[other_at])
    return (each, len(names) == len(own) == len(other)) if len(each) >= FEWEST_PAIRS else None


def _floats(values: NDArray[np.generic]) -> Floats:
    """Before they are subtracted: whole numbers without sign go round, and truth values have no difference."""
    return np.asarray(values, dtype=np.float64)


@lru_cache(maxsize=8)
def _counts(n: int, repetition: int) -> Floats:
    """(resample, item) how often each item is drawn; the same draws serve all differences over as many items."""
    return times_drawn(n, f"{n} shared items", RESAMPLES)[1:]


def _deviations(each: Floats) -> tuple[float, float]:
    """Ends of the interval of a mean around it."""
    n = len(each)
    means = _counts(n, repetition()) @ (each - each.mean()) / n
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]) * wider(n)
    return min(float(low), 0.0), max(float(high), 0.0)


def loaded(load: Any, score: Score) -> Items | None:
    """Items of a score, None where they are missing: it is then compared without pairs.

    Raises ValueError where they are damaged: what else they would have said is not known.
    """
    try:
        found: Items = load(score)
    except Missing:
        return None
    return found
