"""A mean over clusters, within each of which what was measured could have been others."""

from dataclasses import replace

import numpy as np

from saebench.record.score import Estimate, Unscored
from saebench.stats.statistics import CONFIDENCE, DETECTABLE, MDD, RESAMPLES, Floats, never_certain, seed_of, wider


def mean_of_clusters(
    value: Floats,
    resampled: Floats,
    names: list[str],
    *,
    purpose: str,
    n_unit: str,
    span: tuple[float, float],
    weight: Floats | None = None,
) -> Estimate:
    """Mean of `value` (cluster,), or weighted mean, with the interval of a bootstrap in two stages.

    Clusters are drawn anew, and for each one of its `resampled` values (cluster, resample), in which what lies within it
    was drawn anew (Davison & Hinkley 1997, 3.8). `span` is from where to where a cluster that was not seen may lie. The
    minimum detectable difference is between two SAEs that are measured independently. A single cluster stands for itself
    alone: its interval is of what lies within it, and there is nothing that two SAEs could be paired by.
    """
    n = len(value)
    if n == 0:
        raise Unscored(f"{purpose} is defined for no {n_unit}")
    if n == 1:
        return _alone(float(value[0]), resampled[0], names, n_unit, span)
    weights = np.ones(n) if weight is None else weight
    rng = np.random.default_rng(seed_of(f"{purpose}.{n_unit}s"))
    drawn = rng.integers(n, size=(RESAMPLES, n))
    within = rng.integers(resampled.shape[1], size=(RESAMPLES, n))
    means = (resampled[drawn, within] * weights[drawn]).sum(1) / weights[drawn].sum(1)
    found = float((value * weights).sum() / weights.sum())
    low, high = (
        found + (float(end) - found) * wider(n)
        for end in np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    )
    low, high = max(low, span[0]), min(high, span[1])
    estimate = Estimate(
        found, min(low, found), max(high, found), n, n_unit, items={"item": np.array(names), "contribution": value},
        controls={MDD: DETECTABLE * float(means.std())},
    )  # fmt: skip
    return never_certain(estimate, *span)


def _alone(value: float, resampled: Floats, names: list[str], n_unit: str, span: tuple[float, float]) -> Estimate:
    low, high = map(float, np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]))
    noise = {MDD: DETECTABLE * float(resampled.std())}
    found = Estimate(value, min(low, value), max(high, value), 1, n_unit, controls=noise)
    return replace(never_certain(found, *span), items={"item": np.array(names)})
