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

from saebench.record.score import Estimate, Unscored

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]
RESAMPLES = 2000
CONFIDENCE = 0.95
NORMAL = 1.959963984540054
"""Standard errors on each side of a 95% interval."""
DETECTED = 1.96 + 0.84
"""Standard errors of a difference that make it detectable: 5% level, 80% power."""
DETECTABLE = 2**0.5 * DETECTED
"""The same in standard errors of one of two independent scores."""


MDD = "minimum_detectable_difference"
"""Its name among the numbers beside a score."""
ROUNDING = 1e-9
"""Of a value: an interval that is no longer has no length."""
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
    return fixed_seed_of(f"{purpose}, repetition {repetition()}" if repetition() else purpose)


def fixed_seed_of(purpose: str) -> int:
    """The same in every repetition, for what is not to be drawn anew."""
    return int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:4], "big")


def times_drawn(n: int, purpose: str, resamples: int) -> Floats:
    """(1 + resample, n) how often each of n is drawn in resamples of as many; the first time, once: the sample itself."""
    return _times_drawn(n, seed_of(purpose), resamples)


@lru_cache(maxsize=4)
def _times_drawn(n: int, seed: int, resamples: int) -> Floats:
    """The last few are kept, since scores of one kind that follow on each other are of the same resamples."""
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
    found = np.concatenate([np.ones((1, n)), drawn])
    found.flags.writeable = False
    return found


def ratio_of_sums(numerator: Floats, denominator: Floats, *, purpose: str, n_unit: str = "document") -> Estimate:
    """Pooled ratio sum(numerator) / sum(denominator) of per-cluster sums, with its interval over clusters."""
    items = {"numerator": numerator, "denominator": denominator}
    return bootstrap(items, lambda s: s["numerator"] / s["denominator"], purpose=purpose, n_unit=n_unit)


def ratio_of_tails(numerator: Floats, denominator: Floats, *, purpose: str, n_unit: str) -> Estimate:
    """`ratio_of_sums` of what is positive, where a few clusters make up most of both sums.

    A bootstrap of Student's t (Hall 1988) on the logarithm, below which there is nothing. A sample without the tail
    looks as if it were certain; so does each of its resamples, whose own standard error tells. Where the ratio is the
    same in all clusters, the interval is that of `ratio_of_sums`.
    """
    estimate = ratio_of_sums(numerator, denominator, purpose=purpose, n_unit=n_unit)
    n, value = len(numerator), estimate.value
    counts = times_drawn(n, f"{purpose} in standard errors", RESAMPLES)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = counts @ numerator / (counts @ denominator)
        left = (counts * (numerator - ratios[:, None] * denominator) ** 2).sum(1)
        errors = (left * n / (n - 1)) ** 0.5 / (counts @ numerator)  # of the logarithm
        t = np.log(ratios[1:] / ratios[0]) / errors[1:]
    if np.isfinite(t).mean() < (1 + CONFIDENCE) / 2:
        return estimate
    below, above = np.quantile(t[np.isfinite(t)], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]) * errors[0]
    with np.errstate(over="ignore"):
        low, high = value * np.exp([-above, -below])
    if not np.isfinite(high):
        raise Unscored(f"{purpose} is of a few {n_unit}s that outweigh all others: its interval has no end")
    return replace(estimate, ci_low=min(float(low), value), ci_high=max(float(high), value))


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

    return float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) / NORMAL * (n / (n - 1)) ** 0.5) if n > 1 else 1.0


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
            columns, pooled, paired=True, vectorized=True, n_resamples=RESAMPLES, confidence_level=CONFIDENCE,
            method="BCa", batch=200, rng=np.random.default_rng(seed_of(purpose)),
        )  # fmt: skip
    low, high = (float(end) for end in result.confidence_interval)
    if np.isfinite(low) and np.isfinite(high):
        return low, high
    resampled = result.bootstrap_distribution
    if np.isfinite(resampled).all():  # BCa has no correction for a statistic that hardly varies: take the percentiles
        return float(np.quantile(resampled, (1 - CONFIDENCE) / 2)), float(np.quantile(resampled, (1 + CONFIDENCE) / 2))
    raise Unscored(f"{purpose} is not defined on some resamples of its clusters")


def resampled_clusters(sums: Mapping[str, Floats], statistic: Callable[[dict[str, Floats]], Floats]) -> Floats:
    """(1 + resample,) statistic of pooled sums per cluster; the first is that of the sample.

    Equally many clusters are drawn alike, whatever is summed.
    """
    n = len(next(iter(sums.values())))
    counts = times_drawn(n, f"{n} clusters", RESAMPLES)
    with np.errstate(divide="ignore", invalid="ignore"):
        return statistic({name: counts @ np.asarray(values, dtype=np.float64) for name, values in sums.items()})


def honest_rate(estimate: Estimate, words: int) -> Estimate:
    """A rate with Wilson's interval for as many words as would be as uncertain, if they were all independent.

    A bootstrap of rates near 0 or 1 is too short on the side where it has seen nothing, and has no length at all where
    all concepts have the same rate. Where few concepts have any of what most have not, Student's t is that of the few.
    """
    from scipy import stats

    value, error = estimate.value, estimate.controls["minimum_detectable_difference"] / DETECTABLE
    each = estimate.items["contribution"]
    n = min(value * (1 - value) / error**2, words) if error > 0 and 0 < value < 1 else words
    normal = NORMAL
    if error > 0:  # it is that of Student's t for all concepts
        few = max(min((each > 0).sum(), (each < 1).sum()) - 1, 2)
        of_few, of_all = stats.t.ppf((1 + CONFIDENCE) / 2, [few, len(each) - 1])
        normal *= max(float(of_few / of_all), 1.0)
    centre, square = (value + normal**2 / (2 * n)) / (1 + normal**2 / n), value * (1 - value) / n
    half = normal / (1 + normal**2 / n) * (square + (normal / (2 * n)) ** 2) ** 0.5
    low, high = min(centre - half, value), max(centre + half, value)
    detectable = max(DETECTABLE * error, high - low if error == 0 else 0.0)
    controls = {**estimate.controls, "minimum_detectable_difference": detectable}
    return replace(estimate, ci_low=max(low, 0.0), ci_high=min(high, 1.0), controls=controls)


def never_certain(estimate: Estimate, lowest: float, highest: float) -> Estimate:
    """The estimate, with an interval that has length also where all of its items are equal.

    That says little of those that were not seen: with 95% confidence, up to a share of 1 - .025^(1/n) of them is
    otherwise (Clopper & Pearson 1934), and lies between `lowest` and `highest`.
    """
    if estimate.ci_high - estimate.ci_low > ROUNDING * max(1.0, abs(estimate.value)):
        return estimate
    value, share = estimate.value, 1 - ((1 - CONFIDENCE) / 2) ** (1 / estimate.n)
    low, high = value - share * max(value - lowest, 0.0), value + share * max(highest - value, 0.0)
    known = {MDD: high - low} if MDD in estimate.controls else {}
    return replace(estimate, ci_low=low, ci_high=high, controls={**estimate.controls, **known})


def proportion(successes: int, n: int, *, n_unit: str) -> Estimate:
    """A proportion with Wilson's interval."""
    from scipy import stats

    if n == 0:
        raise Unscored(f"there is no {n_unit} to take a share of")
    interval = stats.binomtest(successes, n).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(successes / n, float(interval.low), float(interval.high), n, n_unit)


def least(resampled: Floats) -> tuple[float, float]:
    """Interval of the least of several scores that are resampled together, (score, 1 + resample); the first is the sample.

    The least of equals is low by chance, and again so in every resample. The low end is the least of theirs; the high
    end is the least of ends that all of them lie below at once, wherever each of them truly is.
    """
    point, drawn = resampled[:, :1], resampled[:, 1:][:, np.isfinite(resampled[:, 1:]).all(axis=0)]
    error = np.maximum(drawn.std(axis=1, keepdims=True), 1e-12)
    furthest = np.quantile(((point - drawn) / error).max(axis=0), (1 + CONFIDENCE) / 2)
    low = np.quantile(drawn, (1 - CONFIDENCE) / 2, axis=1).min()
    return float(min(low, point.min())), float(max((point + furthest * error).min(), point.min()))
