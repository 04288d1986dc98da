"""Intervals, thin over scipy: a bootstrap whose unit is the cluster, and Wilson's interval for proportions."""

import hashlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from saebench.score import Estimate, Unscored

Floats = NDArray[np.float64]
RESAMPLES = 2000
LEVEL = 0.95
WORD_BATCH = 100
DETECTABLE = 2**0.5 * (1.96 + 0.84)
"""Standard errors of a score that make a difference between two scores detectable: 5% level, 80% power."""


def seed_of(purpose: str) -> int:
    """A seed derived from what it is for, never from global state."""
    return int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:4], "big")


def ratio_of_sums(numerator: Floats, denominator: Floats, *, purpose: str, n_unit: str = "document") -> Estimate:
    """Pooled ratio sum(numerator) / sum(denominator) of per-cluster sums, with its interval over clusters."""
    items = {"numerator": numerator, "denominator": denominator}
    return bootstrap(items, lambda s: s["numerator"] / s["denominator"], purpose=purpose, n_unit=n_unit)


def bootstrap(
    sums: Mapping[str, Floats],
    statistic: Callable[[dict[str, Floats]], Floats],
    *,
    purpose: str,
    n_unit: str = "document",
) -> Estimate:
    """Estimate of a statistic of pooled sums, with a bias-corrected bootstrap interval over clusters (BCa).

    `sums` holds one value per cluster under each name; `statistic` gets their totals, vectorised over resamples.
    The per-cluster sums become the items of the estimate.
    Raises Unscored if the statistic is not finite on all clusters or on the resamples of them.
    """
    names = list(sums)
    columns = [np.asarray(sums[name], dtype=np.float64) for name in names]

    def pooled(*resampled: Floats, axis: int = -1) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return statistic({name: values.sum(axis=axis) for name, values in zip(names, resampled, strict=True)})

    value = float(pooled(*columns))
    if not np.isfinite(value):
        raise Unscored(f"{purpose} is not defined here: its pooled denominator is zero")
    low, high = _interval(columns, pooled, value, purpose)
    return Estimate(
        value, min(low, value), max(high, value), len(columns[0]), n_unit, items=dict(zip(names, columns, strict=True))
    )


def _interval(columns: list[Floats], pooled: Callable[..., Floats], value: float, purpose: str) -> tuple[float, float]:
    from scipy import stats

    if len(columns[0]) < 2:
        raise Unscored(f"{purpose} needs at least two clusters for an interval, there is {len(columns[0])}")
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        result = stats.bootstrap(
            columns, pooled, paired=True, vectorized=True, n_resamples=RESAMPLES, confidence_level=LEVEL,
            method="BCa", batch=200, rng=np.random.default_rng(seed_of(purpose)),
        )  # fmt: skip
    low, high = (float(end) for end in result.confidence_interval)
    if np.isfinite(low) and np.isfinite(high):
        return low, high
    resampled = result.bootstrap_distribution
    if np.isfinite(resampled).all():  # BCa has no correction for a statistic that hardly varies: take the percentiles
        return float(np.quantile(resampled, (1 - LEVEL) / 2)), float(np.quantile(resampled, (1 + LEVEL) / 2))
    raise Unscored(f"{purpose} is not defined on some resamples of its clusters")


def over_concepts(
    sums: Mapping[str, Floats],
    statistic: Callable[[dict[str, Floats]], Floats],
    *,
    purpose: str,
    concepts: list[str],
    level: float = LEVEL,
) -> Estimate:
    """Mean over concepts of a statistic of sums over words, with an interval for both having been others.

    `sums` holds a value per (word, concept) under each name; `statistic` maps their totals (..., concept) to values
    (..., concept), NaN where a concept has none. Words and concepts are drawn anew together, 2,000 times; the
    interval is that of percentiles. The minimum detectable difference, with 80% power, is between two SAEs that are
    measured independently. Raises Unscored where fewer than two concepts have a value.
    """
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in sums.items()}
    with np.errstate(divide="ignore", invalid="ignore"):
        each = statistic({name: values.sum(axis=0) for name, values in arrays.items()})
    found = np.isfinite(each)
    if found.sum() < 2:
        raise Unscored(f"{purpose} is defined for {found.sum()} of {len(each)} concepts, and an interval needs two")
    means = _redrawn_means(_redrawn(arrays, statistic)[:, found], purpose)
    means = means[np.isfinite(means)]
    value = float(each[found].mean())
    low, high = (float(end) for end in np.quantile(means, [(1 - level) / 2, (1 + level) / 2]))
    return Estimate(
        value, min(low, value), max(high, value), int(found.sum()), "concept",
        items={"concept": np.array(concepts)[found], "value": each[found]},
        controls={"minimum_detectable_difference": DETECTABLE * float(means.std())},
    )  # fmt: skip


def resampled_concepts(
    sums: Mapping[str, Floats], statistic: Callable[[dict[str, Floats]], Floats], purpose: str
) -> Floats:
    """(1 + resample,) mean over concepts of what `over_concepts` is of; the first is that of the sample.

    Two sets of sums over the same words are drawn alike, so that their difference can be taken.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        each = statistic({name: values.sum(axis=0) for name, values in sums.items()})
    found = np.isfinite(each)
    drawn = _redrawn({name: np.asarray(values, dtype=np.float64) for name, values in sums.items()}, statistic)
    return np.concatenate([[each[found].mean()], _redrawn_means(drawn[:, found], purpose)])


def resampled_clusters(sums: Mapping[str, Floats], statistic: Callable[[dict[str, Floats]], Floats]) -> Floats:
    """(1 + resample,) statistic of pooled sums per cluster; the first is that of the sample.

    Equally many clusters are drawn alike, whatever is summed.
    """
    n = len(next(iter(sums.values())))
    rng = np.random.default_rng(seed_of(f"{n} clusters"))
    counts = np.concatenate([np.ones((1, n)), rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES)])
    with np.errstate(divide="ignore", invalid="ignore"):
        return statistic({name: counts @ np.asarray(values, dtype=np.float64) for name, values in sums.items()})


def _redrawn_means(drawn: Floats, purpose: str) -> Floats:
    """(resample,) mean over concepts that are drawn anew, of values (resample, concept)."""
    n = drawn.shape[1]
    counts = np.random.default_rng(seed_of(f"concepts of {purpose}")).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    counts = np.where(np.isfinite(drawn), counts, 0)
    with np.errstate(invalid="ignore"):
        means: Floats = (np.nan_to_num(drawn) * counts).sum(1) / counts.sum(1)
    return means


def _redrawn(sums: dict[str, Floats], statistic: Callable[[dict[str, Floats]], Floats]) -> Floats:
    """(resample, concept) statistics with words drawn anew."""
    counts = _word_counts(len(next(iter(sums.values()))))
    parts = []
    for start in range(0, RESAMPLES, WORD_BATCH):
        weights = counts[start : start + WORD_BATCH].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            parts.append(statistic({name: weights @ values for name, values in sums.items()}))
    return np.concatenate(parts)


@lru_cache(maxsize=4)
def _word_counts(words: int) -> NDArray[np.uint8]:
    """(resample, word) how often each word is drawn; the same draws serve all scores of the same words."""
    rng = np.random.default_rng(seed_of(f"{words} words"))
    chances = np.full(words, 1 / words)
    batches = [rng.multinomial(words, chances, size=WORD_BATCH) for _ in range(0, RESAMPLES, WORD_BATCH)]
    return np.concatenate([batch.clip(max=255).astype(np.uint8) for batch in batches])


def honest_rate(estimate: Estimate, words: int) -> Estimate:
    """A rate that is the same for all concepts, such as 0, has no bootstrap interval: give it that of its words."""
    if estimate.ci_low < estimate.ci_high:
        return estimate
    wilson = proportion(round(estimate.value * words), words, n_unit="word")
    return replace(
        estimate, ci_low=min(wilson.ci_low, estimate.value), ci_high=max(wilson.ci_high, estimate.value),
        controls={**estimate.controls, "minimum_detectable_difference": wilson.ci_high - wilson.ci_low},
    )  # fmt: skip


def proportion(successes: int, n: int, *, n_unit: str) -> Estimate:
    """A proportion with Wilson's interval."""
    from scipy import stats

    if n == 0:
        raise Unscored(f"there is no {n_unit} to take a share of")
    interval = stats.binomtest(successes, n).proportion_ci(LEVEL, method="wilson")
    return Estimate(successes / n, float(interval.low), float(interval.high), n, n_unit)
