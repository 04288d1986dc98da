"""Intervals cover what they should, which they would not if tokens were taken for independent."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from saebench.record.score import Estimate, Unscored
from saebench.stats.statistics import (
    DETECTABLE,
    bootstrap,
    honest_rate,
    least,
    never_certain,
    proportion,
    ratio_of_sums,
    ratio_of_tails,
    seed_of,
)

TRUTH, CLUSTERS, SIMULATIONS = 2.0, 40, 300
Floats = NDArray[np.float64]


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saebench.stats.statistics.RESAMPLES", 400)


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
    assert estimate.ci_low <= estimate.value <= estimate.ci_high


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
    with pytest.raises(Unscored):
        proportion(0, 0, n_unit="latent")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_estimate_refuses_what_is_not_finite(bad: float, place: int) -> None:
    numbers = [0.5, 0.4, 0.6]
    numbers[place] = bad
    with pytest.raises(Unscored, match="is not finite") as caught:
        Estimate(*numbers, n=3, n_unit="document")
    assert caught.value.broken


def tails(seed: int, n: int = 48) -> tuple[Floats, Floats]:
    """Sums most of which a few clusters make up, and of which a part is shared."""
    own, shared = np.random.default_rng(seed).normal(size=(2, n))
    return np.exp(1.2 * shared + 0.4 * own), np.exp(1.2 * shared)


def test_ratio_of_tails_has_the_value_of_any_ratio_and_a_wider_interval() -> None:
    plain, tailed = (
        [ratio(*tails(seed), purpose="tails", n_unit="prompt") for seed in range(12)]
        for ratio in (ratio_of_sums, ratio_of_tails)
    )
    assert [e.value for e in plain] == [e.value for e in tailed]
    widths = [np.mean([e.ci_high - e.ci_low for e in each]) for each in (plain, tailed)]
    assert 1.1 < widths[1] / widths[0] < 2
    assert all(e.ci_low < e.value < e.ci_high for e in tailed)


def test_ratio_of_tails_does_not_depend_on_units() -> None:
    numerator, denominator = tails(1)
    found = ratio_of_tails(numerator, denominator, purpose="tails", n_unit="prompt")
    other = ratio_of_tails(1e-6 * numerator, 1e3 * denominator, purpose="tails", n_unit="prompt")
    assert (other.ci_low, other.ci_high) == pytest.approx((1e-9 * found.ci_low, 1e-9 * found.ci_high))


def test_ratio_of_tails_that_is_the_same_everywhere_is_certain() -> None:
    denominator = tails(1)[1]
    found = ratio_of_tails(2 * denominator, denominator, purpose="tails", n_unit="prompt")
    assert (found.ci_low, found.value, found.ci_high) == pytest.approx((2, 2, 2))


def rate_of(each: Floats, words: int = 400) -> Estimate:
    """A rate of concepts, with the standard error of their mean."""
    error = float(each.std(ddof=1)) / len(each) ** 0.5
    return honest_rate(
        Estimate(
            float(each.mean()), 0.0, 1.0, len(each), "concept", items={"contribution": each},
            controls={"minimum_detectable_difference": DETECTABLE * error},
        ),
        words,
    )  # fmt: skip


@pytest.mark.parametrize("flipped", [False, True])
def test_rate_that_few_concepts_have_is_less_certain_than_its_standard_error_says(flipped: bool) -> None:
    few, many = np.array([0.3, 0.2, 0.1] + 20 * [0.0]), np.tile([0.0, 0.2, 0.4], 8)
    for each, most in ((few, 0.5), (many, 1.15)):
        found = rate_of(1 - each if flipped else each)
        error = found.controls["minimum_detectable_difference"] / DETECTABLE
        assert 0 <= found.ci_low < found.value < found.ci_high <= 1
        assert 2 * 1.9 * error < found.ci_high - found.ci_low
        assert (found.ci_high - found.ci_low < 2 * 1.96 * most * error) == (most > 1)


def test_rate_that_all_concepts_share_is_as_certain_as_its_words_allow() -> None:
    found, none = rate_of(np.full(23, 0.1)), rate_of(np.zeros(23))
    exact = proportion(40, 400, n_unit="word")
    assert (found.ci_low, found.ci_high) == pytest.approx((exact.ci_low, exact.ci_high))
    assert none.ci_low == none.value == 0
    assert 0 < none.ci_high < 0.02


def together(*scores: float, spread: float = 0.05) -> Floats:
    """(score, 1 + resample) that vary independently."""
    noise = np.random.default_rng(1).normal(size=(len(scores), 1001))
    noise[:, 0] = 0
    return np.array(scores)[:, None] + spread * noise


def test_least_of_one_has_its_own_interval() -> None:
    low, high = least(together(0.5))
    assert (low, high) == pytest.approx((0.4, 0.6), abs=0.01)


def test_what_is_clearly_not_the_least_does_not_matter() -> None:
    assert least(together(0.5, 0.9)) == pytest.approx(least(together(0.5)), abs=0.02)


def test_high_end_of_the_least_of_equals_is_above_them_all() -> None:
    one, many = least(together(0.5)), least(together(*[0.5] * 8))
    assert many[1] > one[1] + 0.02
    assert many[0] <= one[0]


def test_least_of_constants_is_certain_and_resamples_without_a_value_are_left_out() -> None:
    assert least(together(0.4, 0.5, spread=0.0)) == pytest.approx((0.4, 0.4))
    holed = together(0.5, 0.6)
    holed[1, 5:50] = np.nan
    assert least(holed) == pytest.approx(least(together(0.5, 0.6)), abs=0.02)


def test_a_ratio_of_what_is_positive_has_no_interval_below_zero() -> None:
    """One prompt in a hundred outweighs all others: the interval is wide, and ends above 0."""
    for number in range(20):
        rng = np.random.default_rng(number)
        sums = np.exp(rng.normal(0, 2.5, 24)), np.exp(rng.normal(0, 1.0, 24))
        found = ratio_of_tails(*sums, purpose="tails", n_unit="prompt")
        assert 0 < found.ci_low <= found.value <= found.ci_high


def test_it_means_the_same_upside_down() -> None:
    rng = np.random.default_rng(0)
    one, other = np.exp(rng.normal(0, 1, 48)), np.exp(rng.normal(0, 1, 48))
    found = ratio_of_tails(one, other, purpose="tails", n_unit="prompt")
    turned = ratio_of_tails(other, one, purpose="tails", n_unit="prompt")
    assert turned.value == pytest.approx(1 / found.value)
    assert [turned.ci_low, turned.ci_high] == pytest.approx([1 / found.ci_high, 1 / found.ci_low], rel=0.15)


@pytest.mark.parametrize(("n", "share"), [(2, 0.842), (3, 0.708), (23, 0.148), (300, 0.0122)])
def test_equal_items_say_little_of_those_that_were_not_seen(n: int, share: float) -> None:
    """0 of n seen: the upper end of Clopper and Pearson's interval for how many others there are."""
    exact = stats.binomtest(0, n).proportion_ci(0.95, method="exact").high
    assert share == pytest.approx(exact, rel=0.01)
    for value, low, high in ((1.0, 1 - exact, 1.0), (0.0, 0.0, exact), (0.5, 0.5 * (1 - exact), 0.5 * (1 + exact))):
        equal = Estimate(value, value, value, n, "concept", controls={"minimum_detectable_difference": 0.0})
        found = never_certain(equal, 0.0, 1.0)
        assert [found.ci_low, found.value, found.ci_high] == pytest.approx([low, value, high])
        assert found.controls == {"minimum_detectable_difference": pytest.approx(high - low)}


def test_an_interval_that_has_length_stays_as_it_is() -> None:
    estimate = Estimate(0.5, 0.49, 0.52, 3, "concept")
    assert never_certain(estimate, 0.0, 1.0) is estimate


def test_the_interval_of_equal_items_contains_the_truth() -> None:
    """A twentieth of concepts are split; samples of 23 in which none is have the truth in their interval."""
    rng = np.random.default_rng(0)
    missed = 0
    for _ in range(400):
        counts = 1.0 + (rng.random(23) < 0.05)
        if counts.std() == 0:
            equal = Estimate(1.0, 1.0, 1.0, 23, "concept")
            missed += not never_certain(equal, 1.0, 2.0).ci_high >= 1.05
    assert missed == 0
