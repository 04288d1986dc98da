"""Games have the value that playing all of them would give, and intervals that hold the truth."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import combinations, product
from math import erf
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from planted_networks import point
from scipy.stats import binomtest

from saebench.evidence.game import games
from saebench.evidence.game.games import Table
from saebench.record.score import Estimate, Unscored

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Scorer = Callable[[Table], Estimate]
PROMPTS, SLOTS = 12, 20


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(games, "RESAMPLES", 500)


def table(real: Floats, fake: Floats, real_id: Ints | None = None, fake_id: Ints | None = None) -> Table:
    """Slots are features of their own unless said otherwise."""
    ids = [np.broadcast_to(np.arange(side.shape[1]), side.shape) for side in (real, fake)]
    return Table(real, fake, ids[0] if real_id is None else real_id, ids[1] if fake_id is None else fake_id)


def simulated(
    seed: int, gap: float = 1.0, feature: float = 1.0, prompt: float = 0.5, noise: float = 1.0, size: int = SLOTS
) -> Table:
    """Features have effects of their own at all prompts, and prompts gaps of their own."""
    rng = np.random.default_rng(seed)
    shape, gaps = (PROMPTS, size), gap + prompt * rng.normal(size=(PROMPTS, 1))
    real, fake = (feature * rng.normal(size=size) + noise * rng.normal(size=shape) for _ in range(2))
    return table(real + gaps, fake)


def truth(gap: float = 1.0, feature: float = 1.0, prompt: float = 0.5, noise: float = 1.0) -> float:
    """Chance that a real one is above a fake one at a prompt."""
    spread = (2 * feature**2 + 2 * noise**2 + prompt**2) ** 0.5
    return 0.5 * (1 + erf(gap / spread / 2**0.5))


def with_gaps(whole: Table, share: float = 0.3, seed: int = 0) -> Table:
    """Some slots are not asked about."""
    rng = np.random.default_rng(seed)
    sides = [np.where(rng.random(side.shape) < share, np.nan, side) for side in (whole.real, whole.fake)]
    return replace(whole, real=sides[0], fake=sides[1])


def of(whole: Table) -> float:
    return float(games.resampled_auc(whole)[0])


# What is measured


def test_auc_is_the_mean_over_all_games() -> None:
    """Of two against two, at both prompts, each with every choice of features."""
    rng = np.random.default_rng(0)
    small = table(rng.integers(0, 4, (2, 4)).astype(float), rng.integers(0, 4, (2, 5)).astype(float))
    played = [
        np.mean([(r > f) + 0.5 * (r == f) for r, f in product(real, fake)])
        for prompt in range(2)
        for real in combinations(small.real[prompt], 2)
        for fake in combinations(small.fake[prompt], 2)
    ]
    assert of(small) == pytest.approx(np.mean(played))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_auc_is_the_mean_over_prompts_of_all_pairs(share: float) -> None:
    for seed in range(5):
        some = with_gaps(simulated(seed), share, seed)
        assert of(some) == pytest.approx(point(some))


def test_single_games_have_the_same_mean() -> None:
    some = with_gaps(simulated(3))
    picked, single = games.play(some, 40_000, 0)
    assert single.mean() == pytest.approx(point(some), abs=0.005)
    assert set(np.unique(np.round(picked * 5, 6)).tolist()) <= {0, 1, 2, 3, 4, 5}


def test_ties_count_one_half() -> None:
    same = table(np.ones((3, 6)), np.ones((3, 7)))
    assert of(same) == 0.5
    assert of(table(np.array([[1.0, 2.0]]), np.array([[1.0, 1.0]]))) == 0.75
    assert games.accuracy(same).value == pytest.approx(0.5, abs=0.01)


def test_prompts_count_alike_however_many_features_are_asked_about() -> None:
    real, fake = np.full((2, 8), np.nan), np.zeros((2, 8))
    real[0], real[1, 0] = -1.0, 1.0
    assert of(table(real, fake)) == 0.5


def test_a_prompt_without_answers_is_left_out() -> None:
    whole = simulated(0)
    for side in ("real", "fake"):
        values = getattr(whole, side).copy()
        values[4] = np.nan
        rest = np.delete(np.arange(PROMPTS), 4)
        without = Table(whole.real[rest], whole.fake[rest], whole.real_id[rest], whole.fake_id[rest])
        gone = replace(whole, **{side: values})
        assert of(gone) == pytest.approx(of(without))
        assert games.difference(gone).value == pytest.approx(games.difference(without).value)
        assert games.auc(gone).controls["prompts"] == PROMPTS - 1
        assert games.accuracy(gone).value == pytest.approx(games.accuracy(without).value, abs=0.02)


def test_only_the_order_counts() -> None:
    whole = simulated(0)
    other = replace(whole, real=np.exp(3 * whole.real) - 7, fake=np.exp(3 * whole.fake) - 7)
    np.testing.assert_array_equal(games.resampled_auc(whole), games.resampled_auc(other))
    assert games.accuracy(whole) == games.accuracy(other)


def test_what_all_slots_of_a_prompt_share_does_not_count() -> None:
    whole = simulated(0)
    shift = 100 * np.random.default_rng(0).normal(size=(PROMPTS, 1))
    other = replace(whole, real=whole.real + shift, fake=whole.fake + shift)
    assert of(other) == of(whole)
    assert games.difference(other).value == pytest.approx(games.difference(whole).value)


def test_swapped_sides_mirror_everything() -> None:
    whole = with_gaps(simulated(0))
    np.testing.assert_allclose(games.resampled_auc(whole.swapped()), 1 - games.resampled_auc(whole))
    assert games.difference(whole.swapped()).value == pytest.approx(-games.difference(whole).value)
    assert games.accuracy(whole.swapped()).value == pytest.approx(1 - games.accuracy(whole).value, abs=0.01)
    assert whole.swapped().swapped() == whole
    one, other = games.auc(whole), games.auc(whole.swapped())
    assert (other.ci_low, other.ci_high) == pytest.approx((1 - one.ci_high, 1 - one.ci_low))


def test_the_order_of_slots_changes_nothing_and_that_of_prompts_no_value() -> None:
    whole, rng = with_gaps(simulated(0)), np.random.default_rng(1)
    slots, prompts = rng.permutation(SLOTS), rng.permutation(PROMPTS)
    by_slot = Table(whole.real[:, slots], whole.fake, whole.real_id[:, slots], whole.fake_id)
    np.testing.assert_allclose(games.resampled_auc(by_slot), games.resampled_auc(whole))
    by_prompt = Table(whole.real[prompts], whole.fake[prompts], whole.real_id[prompts], whole.fake_id[prompts])
    assert of(by_prompt) == pytest.approx(of(whole))
    assert games.difference(by_prompt).value == pytest.approx(games.difference(whole).value)


def test_extremes() -> None:
    apart = table(np.ones((4, 20)), np.zeros((4, 20)))
    for score in (games.auc, games.accuracy):
        # All alike, which of twenty features leaves open what one in six would do.
        unseen = binomtest(0, 20).proportion_ci(0.95, method="exact").high
        assert (score(apart).value, score(apart).ci_low, score(apart).ci_high) == pytest.approx((1, 1 - unseen, 1))
        assert (score(apart.swapped()).value, score(apart.swapped()).ci_high) == pytest.approx((0, unseen))


@pytest.mark.parametrize("gap", [0.0, 0.7, 2.0])
def test_accuracy_is_the_share_of_real_ones_among_the_highest_five(gap: float) -> None:
    """Against games drawn by hand."""
    whole, rng = simulated(1, gap=gap), np.random.default_rng(0)
    shares = []
    for _ in range(4000):
        prompt = rng.integers(PROMPTS)
        both = np.concatenate([rng.choice(side[prompt], 5) for side in (whole.real, whole.fake)])
        shares.append((np.argsort(-both + 1e-9 * rng.random(10))[:5] < 5).mean())
    estimate = games.accuracy(whole)
    assert estimate.value == pytest.approx(np.mean(shares), abs=0.02)
    assert estimate.ci_low <= estimate.value <= estimate.ci_high


def test_difference_is_of_the_means_within_prompts() -> None:
    whole = with_gaps(simulated(2))
    wanted = np.mean([np.nanmean(real) - np.nanmean(fake) for real, fake in zip(whole.real, whole.fake, strict=True)])
    estimate = games.difference(whole)
    assert estimate.value == pytest.approx(wanted)
    assert estimate.ci_low < estimate.value < estimate.ci_high


def test_features_are_counted_once_and_only_if_asked_about() -> None:
    whole = simulated(0)
    real = whole.real.copy()
    real[:, 3] = np.nan
    assert games.auc(replace(whole, real=real)).n == SLOTS - 1


# How much would be needed


def test_the_larger_the_effect_the_fewer_games_are_needed() -> None:
    """At the null, one game's AUC of five against five has a standard deviation of .191."""
    needed = [
        games.auc(simulated(0, gap=gap, feature=0, prompt=0, size=40)).controls["games_needed"]
        for gap in (0, 1, 2, 4, 9)
    ]
    assert needed == sorted(needed, reverse=True)
    assert needed[0] == pytest.approx((1.96 * 0.191 / 0.05) ** 2, rel=0.2)
    assert needed[-1] < 3


# Intervals


def covered(found: list[Estimate], wanted: float) -> float:
    return float(np.mean([each.ci_low <= wanted <= each.ci_high for each in found]))


CASES: dict[str, dict[str, Any]] = {
    "features and prompts": {}, "features": {"prompt": 0.0}, "prompts": {"feature": 0.0, "prompt": 2.0},
    "noise": {"feature": 0.0, "prompt": 0.0}, "nothing to tell": {"gap": 0.0},
}  # fmt: skip


@pytest.mark.parametrize("effects", CASES.values(), ids=CASES)
def test_intervals_hold_the_truth_about_as_often_as_they_say(
    effects: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 200 tables. A bootstrap over features and prompts at once errs on the wide side where neither matters."""
    monkeypatch.setattr(games, "RESAMPLES", 300)
    wanted, hits = truth(**effects), 0
    for seed in range(200):
        low, high = games.interval(games.resampled_auc(simulated(seed, **effects)))
        hits += low <= wanted <= high
    assert 0.88 <= hits / 200 <= (1.0 if effects.get("feature") == 0 else 0.995)


def test_intervals_of_differences_hold_the_truth_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(games, "RESAMPLES", 300)
    assert 0.88 <= covered([games.difference(simulated(seed)) for seed in range(200)], 1.0) <= 0.995


@cache
def true_accuracy() -> float:
    """Of features, fakes and gaps that are drawn anew for every game."""
    rng, n = np.random.default_rng(0), 100_000
    fake, real = (2**0.5 * rng.normal(size=(n, 5)) for _ in range(2))
    both = np.concatenate([real + 1 + 0.5 * rng.normal(size=(n, 1)), fake], axis=1)
    return float((np.argsort(-both, axis=1)[:, :5] < 5).mean())


def test_intervals_of_accuracies_hold_the_truth_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Features count as often as they are drawn."""
    monkeypatch.setattr(games, "RESAMPLES", 100)
    monkeypatch.setattr(games, "GAMES", 4000)
    found = [games.accuracy(simulated(seed)) for seed in range(150)]
    assert 0.88 <= covered(found, true_accuracy()) <= 0.995


def test_an_accuracys_interval_is_about_as_wide_as_resampling_every_game_says() -> None:
    """Features alone differ, so that the interval is that of twenty features on each side, drawn with replacement."""
    whole, rng = simulated(4, prompt=0.0, noise=0.0), np.random.default_rng(0)
    means = []
    for _ in range(300):
        features = rng.integers(0, SLOTS, SLOTS)
        real, fake = (side[0][features][rng.integers(0, SLOTS, (2000, 5))] for side in (whole.real, whole.fake))
        both = np.concatenate([real, fake], axis=1) + 1e-9 * rng.random((2000, 10))
        means.append((np.argsort(-both, axis=1)[:, :5] < 5).mean())
    low, high = np.quantile(means, [0.025, 0.975])
    estimate = games.accuracy(whole)
    assert estimate.ci_high - estimate.ci_low == pytest.approx(high - low, rel=0.15)


def test_more_features_and_prompts_make_a_narrower_interval() -> None:
    widths = [e.ci_high - e.ci_low for e in (games.auc(simulated(0, size=size)) for size in (10, 40, 160))]
    assert widths == sorted(widths, reverse=True)


def test_a_feature_that_is_in_several_slots_or_prompts_is_drawn_as_one() -> None:
    """Four features at five slots each are no twenty features."""
    rng = np.random.default_rng(0)
    ids = np.broadcast_to(np.arange(20) % 4, (PROMPTS, 20))
    real, fake = rng.normal(size=4)[ids] + 0.5, rng.normal(size=4)[ids]
    few, many = table(real, fake, ids, ids), table(real, fake)
    assert of(few) == pytest.approx(of(many))
    widths = [np.ptp(games.interval(games.resampled_auc(each))) for each in (few, many)]
    assert widths[0] > 1.5 * widths[1]
    assert games.auc(few).n == 4


def test_slots_may_hold_other_features_at_every_prompt() -> None:
    """As parts do: what counts is the feature, not the slot."""
    whole, rng = simulated(0), np.random.default_rng(1)
    orders = np.stack([rng.permutation(SLOTS) for _ in range(PROMPTS)])
    sides = [np.take_along_axis(side, orders, axis=1) for side in (whole.real, whole.fake)]
    mixed = Table(sides[0], sides[1], orders, orders)
    np.testing.assert_allclose(games.resampled_auc(mixed), games.resampled_auc(whole))
    one, other = games.difference(mixed), games.difference(whole)
    assert (one.value, one.ci_low, one.ci_high) == pytest.approx((other.value, other.ci_low, other.ci_high))


def test_a_fake_is_drawn_with_its_feature() -> None:
    """Pairs that differ by next to nothing are close to a draw however the features are drawn."""
    rng = np.random.default_rng(0)
    feature = 10 * rng.normal(size=(1, SLOTS)) + np.zeros((PROMPTS, 1))
    pairs = table(feature + 0.01 * rng.normal(size=feature.shape), feature)
    strangers = replace(pairs, fake_id=pairs.fake_id + SLOTS)
    widths = [np.ptp(games.interval(games.resampled_auc(each))) for each in (pairs, strangers)]
    assert widths[0] < 0.3 * widths[1]


def test_all_tables_of_a_session_draw_the_same_prompts() -> None:
    np.testing.assert_array_equal(games.draws(12, 20).prompts, games.draws(12, 500).prompts)
    drawn = games.draws(12, 20)
    assert (drawn.prompts[0] == 1).all()
    assert (drawn.features[0] == 1).all()
    assert (drawn.prompts.sum(axis=1) == 12).all()
    assert (drawn.features.sum(axis=1) == 20).all()


@pytest.mark.parametrize("score", [games.auc, games.accuracy, games.difference])
def test_a_score_is_the_same_every_time(score: Scorer) -> None:
    first = score(simulated(0))
    np.random.default_rng(0).random(100)
    assert score(simulated(0)) == first


@pytest.mark.parametrize("chunk", [1, 7, 501])
def test_chunks_change_nothing(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(games, "RESAMPLES", 50)
    some = with_gaps(simulated(0))
    whole = games.resampled_auc(some), games.difference(some)
    monkeypatch.setattr(games, "CHUNK", chunk)
    np.testing.assert_allclose(games.resampled_auc(some), whole[0])
    assert games.difference(some).ci_low == pytest.approx(whole[1].ci_low)


# What has no honest number


SCORES = [games.auc, games.accuracy, games.difference]


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("side", ["real", "fake"])
def test_nothing_asked_is_no_score(score: Scorer, side: str) -> None:
    nothing = replace(simulated(0), **{side: np.full((PROMPTS, SLOTS), np.nan)})
    with pytest.raises(Unscored):
        score(nothing)


@pytest.mark.parametrize("score", SCORES)
def test_real_and_fake_ones_that_are_never_asked_about_together_are_no_score(
    score: Scorer,
) -> None:
    apart, first = simulated(0), np.arange(PROMPTS)[:, None] < PROMPTS // 2
    apart = replace(apart, real=np.where(first, apart.real, np.nan), fake=np.where(first, np.nan, apart.fake))
    with pytest.raises(Unscored):
        score(apart)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("shape", [(PROMPTS, 0), (0, SLOTS), (0, 0)])
def test_an_empty_table_is_no_score(score: Scorer, shape: tuple[int, int]) -> None:
    with pytest.raises(Unscored):
        score(table(np.zeros(shape), np.zeros(shape)))


@pytest.mark.parametrize("score", SCORES)
def test_one_feature_at_one_prompt_has_no_interval(score: Scorer) -> None:
    """Two numbers say which is larger, and nothing about the next two."""
    with pytest.raises(Unscored):
        score(table(np.ones((1, 1)), np.zeros((1, 1))))


@pytest.mark.parametrize("score", SCORES)
def test_one_prompt_gives_a_number_that_holds_its_value(score: Scorer) -> None:
    estimate = score(table(*np.random.default_rng(0).normal(size=(2, 1, 30))))
    assert estimate.ci_low <= estimate.value <= estimate.ci_high


def test_infinite_numbers_are_not_known() -> None:
    whole = simulated(0)
    real = whole.real.copy()
    real[2, 3], unknown = np.inf, whole.real.copy()
    unknown[2, 3] = np.nan
    one, other = (replace(whole, real=each) for each in (real, unknown))
    np.testing.assert_array_equal(games.resampled_auc(one), games.resampled_auc(other))
    assert games.difference(one) == games.difference(other)
