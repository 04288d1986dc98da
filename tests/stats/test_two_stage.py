"""A mean over clusters whose parts could have been others."""

import numpy as np
import pytest

from saebench.record.score import Unscored
from saebench.stats.two_stage import mean_of_clusters


def of(value: list[float], resampled: list[list[float]], **more: object):  # type: ignore[no-untyped-def]
    names = [f"set {i}" for i in range(len(value))]
    return mean_of_clusters(
        np.array(value), np.array(resampled), names, purpose="a.b", n_unit="set", span=(0.0, 1.0), **more
    )  # type: ignore[arg-type]


def test_the_interval_covers_clusters_and_what_is_within_them() -> None:
    rng = np.random.default_rng(0)
    value = rng.uniform(0.4, 0.8, 40)
    exact = of(list(value), [[v] * 50 for v in value])
    noisy = of(list(value), [list(v + rng.normal(0, 0.3, 50)) for v in value])
    assert exact.value == noisy.value == pytest.approx(value.mean())
    expected = 1.96 * value.std() / np.sqrt(40)
    assert (exact.ci_high - exact.ci_low) / 2 == pytest.approx(expected, rel=0.15)
    assert noisy.ci_high - noisy.ci_low > 1.5 * (exact.ci_high - exact.ci_low)


def test_a_weight_says_how_much_a_cluster_counts() -> None:
    found = of([0.0, 1.0], [[0.0], [1.0]], weight=np.array([1.0, 3.0]))
    assert found.value == 0.75


def test_a_single_cluster_stands_for_itself_and_is_paired_with_nothing() -> None:
    drawn = np.random.default_rng(1).normal(0.7, 0.05, 400)
    found = of([0.7], [list(drawn)])
    assert (found.ci_low, found.ci_high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))
    assert set(found.items) == {"item"}
    certain = of([1.0], [[1.0] * 400])
    assert certain.ci_low < 0.1


def test_of_no_cluster_there_is_no_mean() -> None:
    with pytest.raises(Unscored, match="is defined for no set"):
        of([], [])
