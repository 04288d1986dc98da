"""Intervals cover what they should, which they would not if tokens were taken for independent."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from saebench.score import Estimate, Unscored
from saebench.statistics import bootstrap, proportion, ratio_of_sums, seed_of

TRUTH, CLUSTERS, SIMULATIONS = 2.0, 40, 300
Floats = NDArray[np.float64]


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saebench.statistics.RESAMPLES", 400)


def documents(seed: int) -> list[Floats]:
    """Documents of 10 to 40 tokens, whose values share the document's effect."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(10, 41, CLUSTERS)
    return [TRUTH + rng.normal() + rng.normal(size=size) for size in sizes]


def clustered(seed: int) -> tuple[float, float]:
    texts = documents(seed)
    sums, sizes = (np.array([f(text) for text in texts], dtype=float) for f in (np.sum, len))
    estimate = ratio_of_sums(sums, sizes, purpose=f"simulation {seed}")
    return estimate.ci_low, estimate.ci_high


def unclustered(seed: int) -> tuple[float, float]:
    """What taking each token for independent would give: the percentiles of means of resampled tokens."""
    tokens = np.concatenate(documents(seed))
    drawn = np.random.default_rng(seed).choice(tokens, (400, len(tokens))).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def coverage(interval: Callable[[int], tuple[float, float]], simulations: int) -> float:
    return float(np.mean([low <= TRUTH <= high for low, high in map(interval, range(simulations))]))


def test_intervals_over_clusters_cover_and_over_tokens_do_not() -> None:
    assert 0.92 <= coverage(clustered, SIMULATIONS) <= 0.98
    assert coverage(unclustered, 60) < 0.7


def test_interval_depends_on_the_purpose_alone() -> None:
    rng = np.random.default_rng(0)
    x, n = rng.normal(5, 1, 30), np.ones(30)
    first, again, other = (ratio_of_sums(x, n, purpose=purpose) for purpose in ("fvu", "fvu", "kl"))
    assert (first.ci_low, first.ci_high) == (again.ci_low, again.ci_high)
    assert (first.ci_low, first.ci_high) != (other.ci_low, other.ci_high)
    assert first.value == other.value
    assert seed_of("fvu") != seed_of("kl")


def test_global_random_state_is_neither_read_nor_moved() -> None:
    np.random.seed(1)
    before = np.random.get_state()[1].tolist()
    ratio_of_sums(np.arange(1.0, 9), np.ones(8), purpose="x")
    assert np.random.get_state()[1].tolist() == before


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("constant", [0.0, 1e-9, 0.5, 3e8])
def test_constant_data_has_an_interval_without_width(constant: float) -> None:
    estimate = ratio_of_sums(np.full(20, constant), np.ones(20), purpose="constant")
    assert estimate.value == pytest.approx(constant)
    assert estimate.ci_low == pytest.approx(constant)
    assert estimate.ci_high == pytest.approx(constant)


@pytest.mark.filterwarnings("error")
def test_one_cluster_that_differs_is_no_warning() -> None:
    values = np.zeros(20)
    values[3] = 1.0
    estimate = ratio_of_sums(values, np.ones(20), purpose="nearly constant")
    assert estimate.ci_low <= estimate.value <= estimate.ci_high


@pytest.mark.filterwarnings("error")
def test_statistic_at_the_end_of_its_range() -> None:
    """An absolute value, as shrinkage is, whose estimate is its minimum, so that every resample lies above."""
    x = np.random.default_rng(0).normal(size=20)
    estimate = bootstrap({"x": x - x.mean(), "n": np.ones(20)}, lambda s: abs(s["x"] / s["n"]), purpose="end")
    assert estimate.value == pytest.approx(0)
    assert estimate.ci_low <= estimate.value <= estimate.ci_high  # DEFECT: the interval lies above its value


def test_interval_gets_narrower_with_more_clusters() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for n in (10, 100, 1000):
        estimate = ratio_of_sums(rng.normal(5, 1, n), np.ones(n), purpose="width")
        widths.append(estimate.ci_high - estimate.ci_low)
    assert widths[0] > 2 * widths[1] > 4 * widths[2]


def test_estimate_keeps_what_is_behind_it() -> None:
    estimate = ratio_of_sums(np.array([1.0, 2, 3]), np.array([2.0, 2, 2]), purpose="x", n_unit="letter")
    assert (estimate.value, estimate.n, estimate.n_unit) == (1.0, 3, "letter")
    assert estimate.items["numerator"].tolist() == [1, 2, 3]
    assert estimate.items["denominator"].tolist() == [2, 2, 2]


@pytest.mark.parametrize("numerator", [0.0, 1.0, -1.0])
def test_zero_denominator_is_unscored(numerator: float) -> None:
    with pytest.raises(Unscored, match="my score is not defined here: its pooled denominator is zero") as caught:
        ratio_of_sums(np.full(5, numerator), np.zeros(5), purpose="my score")
    assert not caught.value.broken


def test_denominator_that_is_zero_on_some_resamples_is_unscored() -> None:
    denominator = np.array([1.0, 0.0, 0.0])
    with pytest.raises(Unscored, match="my score is not defined on some resamples"):
        ratio_of_sums(np.array([1.0, 2.0, 3.0]), denominator, purpose="my score")


def test_one_cluster_is_unscored() -> None:
    with pytest.raises(Unscored, match="needs at least two clusters for an interval, there is 1"):
        ratio_of_sums(np.ones(1), np.ones(1), purpose="my score")


def test_no_cluster_is_unscored() -> None:
    with pytest.raises(Unscored):
        ratio_of_sums(np.ones(0), np.ones(0), purpose="my score")


@pytest.mark.parametrize("successes", [0, 20])
def test_proportion_at_the_ends_is_not_certain(successes: int) -> None:
    estimate = proportion(successes, 20, n_unit="latent")
    assert estimate.value == successes / 20
    assert estimate.ci_high - estimate.ci_low > 0.1
    assert 0 <= estimate.ci_low <= estimate.value <= estimate.ci_high <= 1


def test_proportion_of_nothing_is_unscored() -> None:
    with pytest.raises(Unscored):  # DEFECT: a ValueError of scipy's
        proportion(0, 0, n_unit="latent")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_estimate_refuses_what_is_not_finite(bad: float, place: int) -> None:
    numbers = [0.5, 0.4, 0.6]
    numbers[place] = bad
    with pytest.raises(Unscored, match="is not finite") as caught:
        Estimate(*numbers, n=3, n_unit="document")
    assert caught.value.broken
