"""Intervals, thin over scipy: a bootstrap whose unit is the cluster, and Wilson's interval for proportions."""

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from saebench.score import Estimate, Unscored

Floats = NDArray[np.float64]
RESAMPLES = 2000
LEVEL = 0.95
NORMAL = 1.959963984540054
"""Standard errors on each side of a 95% interval."""
WORD_BATCH = 100
DETECTED = 1.96 + 0.84
"""Standard errors of a difference that make it detectable: 5% level, 80% power."""
DETECTABLE = 2**0.5 * DETECTED
"""The same in standard errors of one of two independent scores."""


_REPETITION: ContextVar[int] = ContextVar("repetition", default=0)


@contextmanager
def repeated(number: int) -> Iterator[None]:
    """Within it, every random stage takes its seeds for repetition `number`; 0 is what stands outside of any."""
    token = _REPETITION.set(number)
    try:
        yield
    finally:
        _REPETITION.reset(token)


def repetition() -> int:
    """Which repetition of the random stages this is, as `--sae-seeds` asks for them."""
    return _REPETITION.get()


def seed_of(purpose: str) -> int:
    """A seed derived from what it is for and from the repetition, never from what was drawn before."""
    text = f"{purpose}, repetition {repetition()}" if repetition() else purpose
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


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
    The per-cluster sums become the items of the estimate, with each cluster's contribution to it.
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
    low, high = _expanded(_interval(columns, pooled, value, purpose), value, len(columns[0]))
    items = dict(zip(names, columns, strict=True)) | _contributions(columns, pooled, value)
    return Estimate(value, min(low, value), max(high, value), len(columns[0]), n_unit, items=items)


def wider(n: int) -> float:
    """How much wider the interval of a mean of n items is than a bootstrap of them makes it: Student's t, and n - 1.

    After Hesterberg (2015, arXiv 1411.5279), who expands percentiles likewise.
    """
    from scipy import stats

    return float(stats.t.ppf((1 + LEVEL) / 2, n - 1) / NORMAL * (n / (n - 1)) ** 0.5) if n > 1 else 1.0


def _expanded(ends: tuple[float, float], value: float, n: int) -> tuple[float, float]:
    return value + (ends[0] - value) * wider(n), value + (ends[1] - value) * wider(n)


def _contributions(columns: list[Floats], pooled: Callable[..., Floats], value: float) -> dict[str, Floats]:
    """Per cluster its jackknife pseudo-value, whose mean is the score to first order: what pairs two scores later."""
    n = len(columns[0])
    without = pooled(*(np.stack([values.sum() - values]) for values in columns), axis=0)
    found = n * value - (n - 1) * without
    return {"contribution": found} if np.isfinite(found).all() else {}


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
) -> Estimate:
    """Mean over concepts of a statistic of sums over words, with an interval for both having been others.

    `sums` holds a value per (word, concept) under each name; `statistic` maps their totals (..., concept) to values
    (..., concept), NaN where a concept has none. Words and concepts are drawn anew together, 2,000 times; the
    interval is that of percentiles, as `two_way` scales them. The minimum detectable difference, with 80% power, is between two SAEs that are
    measured independently. Raises Unscored where fewer than two concepts have a value.
    """
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in sums.items()}
    with np.errstate(divide="ignore", invalid="ignore"):
        each = statistic({name: values.sum(axis=0) for name, values in arrays.items()})
    found = np.isfinite(each)
    if found.sum() < 2:
        raise Unscored(f"{purpose} is defined for {found.sum()} of {len(each)} concepts, and an interval needs two")
    drawn = _redrawn(arrays, statistic)[:, found]
    both, counts = _over_concepts(each[found], drawn, purpose)
    means = two_way(both, np.concatenate([each[found][None], drawn]), counts, len(next(iter(arrays.values()))))
    value, means = float(means[0]), means[1:][np.isfinite(means[1:])]
    low, high = (float(end) for end in np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    return Estimate(
        value, min(low, value), max(high, value), int(found.sum()), "concept",
        items={"item": np.array(concepts)[found], "contribution": each[found]},
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
    return _over_concepts(each[found], drawn[:, found], purpose)[0]


def resampled_clusters(sums: Mapping[str, Floats], statistic: Callable[[dict[str, Floats]], Floats]) -> Floats:
    """(1 + resample,) statistic of pooled sums per cluster; the first is that of the sample.

    Equally many clusters are drawn alike, whatever is summed.
    """
    n = len(next(iter(sums.values())))
    rng = np.random.default_rng(seed_of(f"{n} clusters"))
    counts = np.concatenate([np.ones((1, n)), rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES)])
    with np.errstate(divide="ignore", invalid="ignore"):
        return statistic({name: counts @ np.asarray(values, dtype=np.float64) for name, values in sums.items()})


def _over_concepts(each: Floats, drawn: Floats, purpose: str) -> tuple[Floats, Floats]:
    """Mean over concepts of values (concept,) and of those with words drawn anew (resample, concept), which are drawn
    anew as well; and how often each is drawn (1 + resample, concept)."""
    n = len(each)
    again = np.random.default_rng(seed_of(f"concepts of {purpose}")).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    counts = np.concatenate([np.ones((1, n)), again])
    return pigeonhole(np.concatenate([each[None], drawn]), counts), counts


def pigeonhole(drawn: Floats, counts: Floats) -> Floats:
    """(1 + resample,) means over columns that are drawn `counts` (1 + resample, column) times; the first is the sample's.

    `drawn` (1 + resample, column) has their values with rows drawn anew, NaN where there is none.
    """
    weight = np.where(np.isfinite(drawn), counts, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((np.where(weight > 0, drawn, 0.0) * weight).sum(1) / weight.sum(1))


def two_way(both: Floats, drawn: Floats, counts: Floats, rows: int) -> Floats:
    """Resamples `both` of the pigeonhole bootstrap, scaled to the variance that they should have.

    Drawing rows and columns anew counts twice what is neither's own (Owen 2007, arXiv 0712.1111). The variance is that
    of rows plus that of columns less that of both, each as large as Student's t makes it for so few.
    """
    by_row = pigeonhole(drawn, np.ones_like(counts))
    by_column = pigeonhole(np.broadcast_to(drawn[0], drawn.shape), counts)
    of_both, of_rows, of_columns = (_variance(found[1:]) for found in (both, by_row, by_column))
    if not of_both > 0:
        return both
    rows_own, columns_own = of_rows * wider(rows) ** 2, of_columns * wider(int(np.isfinite(drawn[0]).sum())) ** 2
    wanted = max(rows_own, columns_own, rows_own + columns_own - max(of_both - of_rows - of_columns, 0.0))
    return np.asarray(both[0] + (both - both[0]) * (wanted / of_both) ** 0.5)


def _variance(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.var()) if len(finite) else 0.0


def _redrawn(sums: dict[str, Floats], statistic: Callable[[dict[str, Floats]], Floats]) -> Floats:
    """(resample, concept) statistics with words drawn anew."""
    counts = _word_counts(len(next(iter(sums.values()))), repetition())
    parts = []
    for start in range(0, RESAMPLES, WORD_BATCH):
        weights = counts[start : start + WORD_BATCH].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            parts.append(statistic({name: weights @ values for name, values in sums.items()}))
    return np.concatenate(parts)


@lru_cache(maxsize=4)
def _word_counts(words: int, repetition: int) -> NDArray[np.uint8]:
    """(resample, word) how often each word is drawn; the same draws serve all scores of the same words."""
    rng = np.random.default_rng(seed_of(f"{words} words"))
    chances = np.full(words, 1 / words)
    batches = [rng.multinomial(words, chances, size=WORD_BATCH) for _ in range(0, RESAMPLES, WORD_BATCH)]
    return np.concatenate([batch.clip(max=255).astype(np.uint8) for batch in batches])


def honest_rate(estimate: Estimate, words: int) -> Estimate:
    """A rate with Wilson's interval for as many words as would be as uncertain, if they were all independent.

    A bootstrap of rates near 0 or 1 is too short on the side where it has seen nothing, and has no length at all where
    all concepts have the same rate.
    """
    value, error = estimate.value, estimate.controls["minimum_detectable_difference"] / DETECTABLE
    n = min(value * (1 - value) / error**2, words) if error > 0 and 0 < value < 1 else words
    centre, square = (value + NORMAL**2 / (2 * n)) / (1 + NORMAL**2 / n), value * (1 - value) / n
    half = NORMAL / (1 + NORMAL**2 / n) * (square + (NORMAL / (2 * n)) ** 2) ** 0.5
    low, high = min(centre - half, value), max(centre + half, value)
    detectable = max(DETECTABLE * error, high - low if error == 0 else 0.0)
    controls = {**estimate.controls, "minimum_detectable_difference": detectable}
    return replace(estimate, ci_low=max(low, 0.0), ci_high=min(high, 1.0), controls=controls)


def proportion(successes: int, n: int, *, n_unit: str) -> Estimate:
    """A proportion with Wilson's interval."""
    from scipy import stats

    if n == 0:
        raise Unscored(f"there is no {n_unit} to take a share of")
    interval = stats.binomtest(successes, n).proportion_ci(LEVEL, method="wilson")
    return Estimate(successes / n, float(interval.low), float(interval.high), n, n_unit)
