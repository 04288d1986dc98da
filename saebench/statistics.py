"""Intervals, thin over scipy: a bootstrap whose unit is the cluster, and Wilson's interval for proportions."""

import hashlib
import warnings
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from saebench.score import Estimate, Unscored

Floats = NDArray[np.float64]
RESAMPLES = 2000
LEVEL = 0.95


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


def proportion(successes: int, n: int, *, n_unit: str) -> Estimate:
    """A proportion with Wilson's interval."""
    from scipy import stats

    if n == 0:
        raise Unscored(f"there is no {n_unit} to take a share of")
    interval = stats.binomtest(successes, n).proportion_ci(LEVEL, method="wilson")
    return Estimate(successes / n, float(interval.low), float(interval.high), n, n_unit)
