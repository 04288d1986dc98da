"""The game is won where a network computes with the features, and is a draw where no direction is special."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import planted_networks as planted
import pytest
import torch
from planted_networks import Name, Network, point
from torch import Tensor

from saebench.evidence.game import fakes, games, ladder, moves, responses
from saebench.evidence.game.fakes import Cloud
from saebench.evidence.game.ladder import Parts, climb, climb_per_prompt
from saebench.evidence.game.likeness import NAMES, Traits, match
from saebench.evidence.game.rungs import ANGLES, Features, Pool, Rung
from saebench.metrics import distinguishability as metric
from saebench.record.score import Estimate, Unscored

BOTH: tuple[Name, ...] = ("linear", "thresholded")
MIXTURES = ("covariance_mixture", "real_mixture")
CARELESS = ("isotropic", "rotated_dictionary")
FEW = 20


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(games, "RESAMPLES", 500)


def scored(rung: Rung) -> Estimate:
    return games.auc(rung.table())


def contains_chance(estimate: Estimate) -> bool:
    return estimate.ci_low <= 0.5 <= estimate.ci_high


# A network that reads all directions alike


@pytest.mark.parametrize("fake", MIXTURES)
def test_careful_fakes_are_a_draw_where_no_direction_is_special(fake: str) -> None:
    rung = planted.rung("linear", fake)
    assert (rung.imbalance, rung.matched) == (None, planted.MOST)
    estimate = scored(rung)
    assert contains_chance(estimate)
    assert estimate.ci_high - estimate.ci_low < 0.2


def test_intervals_of_draws_hold_chance_about_as_often_as_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of twenty networks that read at random, each asked about sixty of its features."""
    monkeypatch.setattr(games, "RESAMPLES", 200)
    found = []
    for seed in range(20):
        generator = planted.seeded(100 + seed)
        weight = planted.directions().T @ torch.randn(planted.N, planted.OUT, generator=generator)
        order = torch.randperm(planted.N, generator=generator)
        network = Network(partial(torch.matmul, other=weight), planted.x()[:3])
        known = planted.active()[:3, order.numpy()]
        features = Features(network, planted.traits(), planted.directions()[order], planted.RATE, known)
        pool = Pool("mixtures", planted.mixtures()[torch.randperm(planted.POOL, generator=generator)[:4000]])
        found.append(scored(climb(features, pool, planted.MOST)))
    assert sum(contains_chance(each) for each in found) >= 17
    assert np.mean([each.value for each in found]) == pytest.approx(0.5, abs=0.03)


def test_another_decomposition_is_a_draw_where_no_direction_is_special() -> None:
    rung = planted.decomposed("linear")
    assert rung.imbalance is None
    assert contains_chance(scored(rung))


@pytest.mark.parametrize("fake", CARELESS)
def test_careless_fakes_seem_to_lose_even_there(fake: str) -> None:
    """And at every step: features have more of the activations' variance, which is all that this network reads."""
    rung = planted.rung("linear", fake, np.inf)
    assert scored(rung).ci_low > 0.65
    assert 0.75 < scored(rung).value < 0.92
    assert all(point(rung.effect(step)) > 0.65 for step in range(len(ANGLES)))
    assert "log variance" in str(rung.imbalance)


def test_matched_for_their_variance_they_are_a_draw() -> None:
    rung = planted.rung("linear", "isotropic")
    assert (rung.imbalance, rung.matched) == (None, planted.MOST)
    assert rung.candidates > 2 * planted.MOST
    assert contains_chance(scored(rung))


def test_a_rotation_of_few_directions_has_none_that_match_and_says_so() -> None:
    rung = planted.rung("linear", "rotated_dictionary")
    with pytest.raises(Unscored, match=r"not like the features: log variance differs .*AUC 0.[78]"):
        metric.rung_auc({"rotated_dictionary": rung}, "rotated_dictionary")


def test_a_euclidean_decomposition_is_unlike_the_parts() -> None:
    rung = planted.parts("linear").decomposed("euclidean", fakes.euclidean_decompositions)
    assert scored(rung).value > 0.55
    assert "log variance" in str(rung.imbalance)


def test_sums_of_two_features_are_a_draw_where_no_direction_is_special() -> None:
    assert contains_chance(scored(planted.rung("linear", "sum_of_two")))


def small_cloud(part: int) -> Cloud:
    return Cloud(planted.cloud().x[400 * part : 400 * (part + 1)])


def test_fakes_from_the_tokens_that_their_variance_is_measured_at_fit_the_noise_and_from_others_do_not() -> None:
    """With d / tokens not small, what is drawn from a covariance has more of that covariance than of the true one."""
    network = replace(planted.network("linear"), x=planted.x()[:4])
    features = Features(
        network, Traits(small_cloud(0), torch.eye(planted.D)), planted.directions(), planted.RATE, planted.active()[:4]
    )
    same, other = (
        climb(features, Pool("mixture", fakes.covariance_mixture(small_cloud(part), 12_000, planted.seeded(0))), 160)
        for part in (0, 1)
    )
    assert same.imbalance is other.imbalance is None
    assert scored(same).ci_low > 0.52
    assert contains_chance(scored(other))


# A network that computes with its features


@pytest.mark.parametrize("fake", MIXTURES)
def test_features_are_told_from_careful_fakes_by_a_network_that_computes_with_them(fake: str) -> None:
    rung = planted.rung("thresholded", fake)
    assert rung.imbalance is None
    assert scored(rung).ci_low > 0.9


def test_they_are_told_above_the_threshold_and_not_below() -> None:
    """Steps of 5 and 10 degrees are errors to be corrected, those of 30 to 50 are features."""
    rung = planted.rung("thresholded", "covariance_mixture")
    for small in (0, 1):
        assert abs(point(rung.effect(small)) - 0.5) < 0.08
    for large in (3, 4, 5):
        assert point(rung.effect(large)) >= 0.9
        assert scored(rung).ci_low > 0.9


def test_large_steps_along_sums_of_two_features_do_more_than_along_one() -> None:
    rung = planted.rung("thresholded", "sum_of_two")
    assert point(rung.effect(3)) > 0.7
    assert point(rung.effect(7)) < 0.2
    assert 0.7 < scored(rung).value < scored(planted.rung("thresholded", "covariance_mixture")).value


def test_small_negative_steps_tell_parts_from_another_decomposition() -> None:
    rung = planted.decomposed("thresholded")
    assert (rung.imbalance, rung.sign) == (None, "minus")
    assert scored(rung).ci_low > 0.5
    assert scored(rung).value > 0.75
    assert [point(rung.effect(share)) > 0.85 for share in (1, 2)] == [True, True]


def test_full_ablation_does_not() -> None:
    rung = planted.decomposed("thresholded")
    assert games.auc(rung.effect(len(ladder.SHARES) - 1)).ci_low < 0.5
    assert point(rung.effect(len(ladder.SHARES) - 1)) < 0.55


def test_neither_do_positive_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on stays on; other parts turn something else on."""

    def forward(respond: Any, directions: Any, sizes: Any, asked: Any, shares: Any) -> Any:
        return responses.stepped(respond, directions, -sizes, asked, shares)

    monkeypatch.setattr(ladder, "stepped", forward)
    own = planted.parts("thresholded")
    rung = Parts(own.respond, own.traits, own.parts, own.ids).decomposed("whitened_decomposition", whiten)
    assert all(point(rung.effect(share)) < 0.5 for share in range(len(ladder.SHARES)))
    assert games.auc(rung.table()).ci_low < 0.5
    assert point(rung.table()) < 0.55


def test_parts_are_told_from_mixtures_that_are_matched_one_by_one() -> None:
    for name, told in zip(BOTH, (False, True), strict=True):
        rung = planted.parts(name).mixed("active_covariance_mixture", ladder.Pool("mixtures", planted.mixtures()))
        assert rung.imbalance is None
        assert (scored(rung).ci_low > 0.5) is told
        assert contains_chance(scored(rung)) is not told


# Dictionaries of which a share is real


def of_dictionary(features: Features) -> Estimate:
    return scored(climb(features, planted.pool("covariance_mixture"), planted.MOST))


def test_the_more_of_a_dictionary_is_real_the_higher_it_scores() -> None:
    """In proportion: each feature that is none is a draw."""
    told = scored(planted.rung("thresholded", "covariance_mixture")).value - 0.5
    for share in (0.75, 0.5, 0.25, 0.0):
        estimate = of_dictionary(planted.dictionary(share))
        assert estimate.value == pytest.approx(0.5 + share * told, abs=0.05)
        assert estimate.ci_low <= 0.5 + share * told <= estimate.ci_high
    assert contains_chance(of_dictionary(planted.dictionary(0.0)))


def test_a_shuffled_dictionary_is_a_draw() -> None:
    estimate = of_dictionary(planted.shuffled())
    assert contains_chance(estimate)
    assert estimate.value == pytest.approx(0.5, abs=0.05)


def test_half_of_a_rungs_features_against_the_other_half_is_a_draw() -> None:
    for name in BOTH:
        whole = planted.rung(name, "covariance_mixture")
        rung = ladder.halves(whole)
        assert not set(rung.real_id.ravel().tolist()) & set(rung.fake_id.ravel().tolist())
        assert set(rung.real_id.ravel().tolist()) | set(rung.fake_id.ravel().tolist()) == set(whole.real_id.ravel())
        assert contains_chance(metric.rung_auc({"halves": rung}, "halves"))


@pytest.mark.parametrize("name", BOTH)
def test_half_of_the_features_against_the_other_half_is_a_draw(name: Name) -> None:
    rows = slice(None, None, 2)
    half = Features(
        planted.network(name), planted.traits(), planted.directions()[rows], planted.RATE[rows],
        planted.active()[:, rows],
    )  # fmt: skip
    rung = climb(half, planted.pool("halves"), planted.MOST)
    assert set(rung.balance) == {*NAMES, "log firing rate"}
    assert rung.imbalance is None
    assert contains_chance(scored(rung))


# The headline


def test_the_headline_is_a_draw_where_no_direction_is_special_and_won_where_they_are() -> None:
    linear, thresholded = (metric.auc(planted.lineup(name)) for name in BOTH)
    assert linear.ci_low <= 0.5
    assert linear.value < 0.6
    assert thresholded.ci_low > 0.6
    assert thresholded.value > 0.75


GAME = (
    metric.auc, metric.accuracy, metric.sensitivity_log_ratio, metric.noise_suppression_gap,
    partial(metric.ladder_auc, name="covariance_mixture"),
)  # fmt: skip


@pytest.mark.parametrize("score", GAME)
def test_where_known_directions_are_not_told_the_game_says_nothing(score: Callable[[metric.Lineup], Estimate]) -> None:
    told = planted.lineup("thresholded")
    untold = {"token_means": planted.rung("linear", "covariance_mixture"), "token_embeddings": Unscored("too few")}
    score(told)
    for controls in (untold, {"token_embeddings": Unscored("too few")}, {}):
        with pytest.raises(Unscored, match=r"does not tell known directions either \((token_|none)"):
            score(replace(told, controls=controls))
    # One kind that is told is enough.
    assert score(replace(told, controls=untold | dict(told.controls))).value == score(told).value


def test_why_known_directions_are_not_told_is_said() -> None:
    controls = {"token_means": planted.rung("linear", "covariance_mixture"), "token_embeddings": Unscored("too few")}
    said = replace(planted.lineup("thresholded"), controls=controls).untold
    assert said is not None
    assert re.fullmatch(r".*either \(token_means: AUC 0\.[45]\d; token_embeddings: too few\)", said)


def test_the_headline_is_the_least_of_the_strict_rungs() -> None:
    for name in BOTH:
        lineup = planted.lineup(name)
        each = {fake: scored(rung).value for fake, rung in lineup.rungs.items() if isinstance(rung, Rung)}
        estimate = metric.auc(lineup)
        assert estimate.value == pytest.approx(min(each.values()))
        assert {fake: estimate.controls[fake] for fake in each} == pytest.approx(each)
        assert estimate.controls["rungs"] == 3
        assert estimate.ci_low <= min(scored(rung).ci_low for rung in lineup.rungs.values() if isinstance(rung, Rung))


def test_five_of_ten_are_picked_rightly_or_by_chance() -> None:
    mixtures = {name: planted.rung(name, "covariance_mixture") for name in BOTH}
    assert games.accuracy(mixtures["thresholded"].table()).ci_low > 0.9
    chance = games.accuracy(mixtures["linear"].table())
    assert contains_chance(chance)
    assert chance.value == pytest.approx(0.5, abs=0.1)


def test_accuracy_is_that_of_the_hardest_strict_rung() -> None:
    for name, told in zip(BOTH, (False, True), strict=True):
        lineup = planted.lineup(name)
        rungs = [rung for rung in lineup.rungs.values() if isinstance(rung, Rung)]
        estimate = metric.accuracy(lineup)
        assert estimate == games.accuracy(min(rungs, key=lambda rung: point(rung.table())).table())
        assert (estimate.ci_low > 0.5) is told


@pytest.mark.parametrize("score", [metric.sensitivity_log_ratio, metric.noise_suppression_gap])
def test_companion_scores_are_zero_where_no_direction_is_special(score: Callable[[metric.Lineup], Estimate]) -> None:
    linear, thresholded = (score(planted.lineup(name)) for name in BOTH)
    assert linear.ci_low <= 0 <= linear.ci_high
    assert thresholded.ci_low > 0


def test_a_rungs_score_shows_the_other_statistics_and_the_match() -> None:
    estimate = metric.rung_auc(planted.lineup("thresholded").rungs, "covariance_mixture")
    assert {"sensitivity_l2", "plateau", "convexity", "slope", "matched", "candidates"} <= set(estimate.controls)
    assert estimate.controls["matched"] == planted.MOST
    assert all(abs(estimate.controls[f"imbalance in {trait}"]) < 0.1 for trait in NAMES)
    assert estimate.controls["sensitivity_l2"] == pytest.approx(estimate.value, abs=0.02)
    asked = int((~planted.active()[:, : planted.MOST]).sum())
    assert len(estimate.items["sensitivity"]) == pytest.approx(asked, rel=0.05)
    assert all(np.isfinite(values).all() for values in estimate.items.values())


# What counts, and what does not


def test_a_rung_that_could_not_be_built_says_why() -> None:
    with pytest.raises(Unscored, match="not here"):
        metric.rung_auc(planted.lineup("linear").rungs, "shuffled_sae")


def test_too_few_strict_rungs_are_no_headline() -> None:
    lineup = planted.lineup("thresholded", whitened_decomposition=Unscored("no parts"))
    with pytest.raises(Unscored, match=r"2 of 5 strict rungs count: .*whitened_decomposition: no parts"):
        metric.auc(lineup)
    with pytest.raises(Unscored, match="2 of 5"):
        metric.accuracy(lineup)


def test_no_headline_without_covariance_mixtures() -> None:
    others = {fake: planted.rung("thresholded", "real_mixture") for fake in ("shuffled_sae", "soft_frozen_sae")}
    lineup = planted.lineup("thresholded", covariance_mixture=Unscored("no cloud"), **others)
    with pytest.raises(Unscored, match="4 of 5 strict rungs count: covariance_mixture: no cloud"):
        metric.auc(lineup)


def test_an_imbalanced_rung_does_not_count_and_names_the_trait() -> None:
    unlike = planted.rung("thresholded", "isotropic", np.inf)
    lineup = planted.lineup("thresholded", real_mixture=unlike)
    with pytest.raises(Unscored, match=r"real_mixture: the fakes are not like the features: log variance differs by -"):
        metric.auc(lineup)
    assert metric.auc(planted.lineup("thresholded", shuffled_sae=unlike)).controls["rungs"] == 3


@pytest.mark.parametrize(("gap", "counts"), [(0.1, True), (-0.1, True), (0.101, False), (-0.2, False)])
def test_the_worst_trait_decides(gap: float, counts: bool) -> None:
    rung = replace(planted.rung("linear", "covariance_mixture"), balance={"one": 0.05, "other": gap, "third": 0.0})
    assert (rung.imbalance is None) is counts
    assert counts or "other" in str(rung.imbalance)


def test_a_balance_that_is_not_known_is_no_balance() -> None:
    for balance in ({"one": float("nan"), "other": 0.0}, {"one": 0.0, "other": float("nan")}):
        assert replace(planted.rung("linear", "covariance_mixture"), balance=balance).imbalance is not None


def test_a_strict_rung_that_was_never_asked_does_not_count_and_does_no_harm() -> None:
    """Such as latents that are all active at all prompts."""
    known = planted.rung("thresholded", "covariance_mixture")
    silent = replace(known, fake=known.fake.only(np.zeros(known.fake_id.shape, dtype=bool)))
    estimate = metric.auc(planted.lineup("thresholded", shuffled_sae=silent))
    assert estimate.controls["rungs"] == 3
    with pytest.raises(Unscored, match="2 of 5 strict rungs count"):
        metric.auc(planted.lineup("thresholded", real_mixture=silent))


def test_fewer_features_or_fakes_than_fifteen_are_too_few() -> None:
    few = Features(
        planted.network("linear"), planted.traits(), planted.directions()[:14], planted.RATE[:14],
        planted.active()[:, :14],
    )  # fmt: skip
    with pytest.raises(Unscored, match="14 features and 12000 fakes, and 15 of each"):
        climb(few, planted.pool("covariance_mixture"), planted.MOST)
    with pytest.raises(Unscored, match="512 features and 14 fakes, and 15 of each"):
        climb(planted.features("linear"), Pool("few", planted.mixtures()[:14]), planted.MOST)


def test_fakes_per_prompt_for_fewer_than_fifteen_features_are_too_few() -> None:
    few = subset(planted.network("linear"), 3)
    pools = planted.mixtures()[:2000].expand(planted.PROMPTS, -1, -1)
    with pytest.raises(Unscored):
        climb_per_prompt(few, "mixture", pools, np.arange(3))


def test_parts_of_fewer_than_fifteen_features_are_too_few() -> None:
    """Four prompts of three parts each."""
    parts = some_parts(planted.network("linear"), 4)
    with pytest.raises(Unscored):
        metric.rung_auc({"white": parts.decomposed("white", whiten)}, "white")


# Per prompt


def test_only_features_with_a_fake_like_them_are_compared_to_fakes_per_prompt() -> None:
    """Half of the directions have less variance than the others, and the fakes are like those."""
    n = 30
    weak = planted.shuffled().directions[:n]
    rows = torch.cat([planted.directions()[:n], weak])
    both = Features(
        planted.network("linear"), planted.traits(), rows, np.zeros(2 * n), np.zeros((planted.PROMPTS, 2 * n), bool)
    )
    pools = planted.pool("isotropic").directions[:2000].expand(planted.PROMPTS, -1, -1)
    pairs = match(both.own_traits, both.traits.of(pools[0]), both.scale, 2 * n)
    assert 15 < len(pairs) < 1.5 * n
    rung = climb_per_prompt(both, "isotropic", pools, np.arange(2 * n))
    assert rung.imbalance is None
    assert contains_chance(scored(rung))


def test_fakes_that_contain_the_activation_are_matched_at_every_prompt() -> None:
    """Each has a fake of its own at each prompt, or none there."""
    generator = planted.seeded(20)
    pools = torch.stack([fakes.towards_normal(planted.cloud(), x, 4000, generator) for x in planted.x()])
    rung = climb_per_prompt(planted.features("thresholded"), "covariance_gaussian", pools, np.arange(FEW))
    assert rung.fake.kl.shape[:2] == (planted.PROMPTS, FEW)
    assert np.isfinite(rung.fake.kl).all(axis=2).mean() > 0.5
    assert scored(rung).ci_low > 0.9


# Invariances


def subset(network: Network, n: int, **changed: Tensor) -> Features:
    """The first features alone."""
    rows = changed.get("directions", planted.directions()[:n])
    prompts = len(network.x)
    return Features(network, planted.traits(), rows, planted.RATE[:n], planted.active()[:prompts, :n])


def whiten(own: Tensor, generator: torch.Generator, n: int) -> Tensor:
    return fakes.whitened_decompositions(planted.cloud(), own, generator, n)


def some_parts(network: Network, prompts: int) -> Parts:
    network = replace(network, x=network.x[:prompts])
    own = planted.contributions()[:prompts]
    return Parts(network, planted.traits(), own, planted.part_ids()[:prompts])


@pytest.mark.parametrize("name", BOTH)
def test_the_order_of_features_changes_nothing(name: Name) -> None:
    order = torch.randperm(FEW, generator=planted.seeded(0))
    plain = subset(planted.network(name), FEW)
    other = Features(
        planted.network(name), planted.traits(), planted.directions()[:FEW][order], planted.RATE[:FEW],
        planted.active()[:, :FEW][:, order.numpy()],
    )  # fmt: skip
    np.testing.assert_allclose(
        other.curves(np.arange(FEW)).kl, plain.curves(order.numpy()).kl, rtol=1e-4, atol=1e-6
    )  # fmt: skip
    one, two = (climb(each, planted.pool("covariance_mixture"), FEW) for each in (plain, other))
    assert point(one.table()) == pytest.approx(point(two.table()), abs=1e-3)


@pytest.mark.parametrize("name", BOTH)
def test_the_length_of_directions_changes_nothing(name: Name) -> None:
    lengths = torch.logspace(-3, 3, FEW)[:, None]
    plain = climb(subset(planted.network(name), FEW), planted.pool("covariance_mixture"), FEW)
    stretched = subset(planted.network(name), FEW, directions=planted.directions()[:FEW] * lengths)
    long = Pool("covariance_mixture", planted.mixtures() * torch.logspace(-3, 3, planted.POOL)[:, None])
    other = climb(stretched, long, FEW)
    assert other.balance == pytest.approx(plain.balance, abs=1e-3)
    np.testing.assert_allclose(other.table().real, plain.table().real, rtol=1e-3)
    assert point(other.table()) == pytest.approx(point(plain.table()), abs=1e-3)


@pytest.mark.parametrize("name", BOTH)
def test_a_rotation_of_the_whole_space_changes_no_curve(name: Name) -> None:
    """One that leaves the mean over dimensions where it is, which a layer norm does not see."""
    turn = fakes.fixing(torch.ones(planted.D), planted.seeded(5))[0].float()
    plain = planted.network(name)
    other = Network(lambda points: plain.read(points @ turn), plain.x @ turn.T)
    rows, asked = planted.directions()[:FEW], np.ones((planted.PROMPTS, FEW), dtype=bool)
    before, after = (
        responses.turned(network, directions, asked, ANGLES)
        for network, directions in ((plain, rows), (other, rows @ turn.T))
    )
    np.testing.assert_allclose(after.kl, before.kl, atol=1e-5, rtol=1e-4)
    np.testing.assert_allclose(after.l2, before.l2, atol=1e-3, rtol=1e-3)
    whole, sizes = rows.expand(planted.PROMPTS, -1, -1), torch.ones(planted.PROMPTS, FEW)
    before, after = (
        responses.stepped(network, directions, sizes, asked, ladder.SHARES)
        for network, directions in ((plain, whole), (other, whole @ turn.T))
    )
    np.testing.assert_allclose(after.kl, before.kl, atol=1e-5, rtol=1e-4)


def test_a_rotation_of_the_whole_space_changes_no_trait() -> None:
    turn = fakes.haar(planted.D, planted.seeded(6))[0].float()
    gram = torch.diag(torch.linspace(1, 3, planted.D))
    plain = Traits(planted.cloud(), gram).of(planted.directions())
    other = Traits(Cloud(planted.cloud().x @ turn.T), turn @ gram @ turn.T).of(planted.directions() @ turn.T)
    np.testing.assert_allclose(np.delete(other, 2, 1), np.delete(plain, 2, 1), atol=1e-3)


@pytest.mark.parametrize("name", BOTH)
def test_batches_change_nothing(name: Name, monkeypatch: pytest.MonkeyPatch) -> None:
    network = planted.network(name)
    plain = climb(subset(network, FEW), planted.pool("covariance_mixture"), FEW)
    other = climb(subset(replace(network, batch=7), FEW), planted.pool("covariance_mixture"), FEW)
    np.testing.assert_allclose(other.real.kl, plain.real.kl, atol=1e-6, rtol=1e-4)
    assert point(other.table()) == pytest.approx(point(plain.table()), abs=1e-3)
    whole = games.resampled_auc(plain.table())
    monkeypatch.setattr(games, "CHUNK", 333)
    np.testing.assert_allclose(games.resampled_auc(plain.table()), whole, rtol=1e-12)


def test_each_feature_is_asked_about_once() -> None:
    network = planted.network("linear")
    features = subset(network, FEW)
    at_once, before = features.curves(np.arange(FEW)), network.asked
    again = features.curves(np.array([7, 3]))
    assert network.asked == before
    np.testing.assert_array_equal(again.kl, at_once.kl[:, [7, 3]])
    one_by_one = subset(planted.network("linear"), FEW)
    for i in range(FEW):
        one_by_one.curves(np.array([i]))
    np.testing.assert_allclose(one_by_one.curves(np.arange(FEW)).kl, at_once.kl, rtol=1e-4, atol=1e-6)


def test_features_are_not_asked_about_where_they_are_active() -> None:
    curves = planted.features("linear").curves(np.arange(planted.N))
    np.testing.assert_array_equal(np.isnan(curves.kl).any(axis=2), planted.active())
    np.testing.assert_array_equal(np.isnan(curves.kl).all(axis=2), planted.active())


@pytest.mark.parametrize("name", BOTH)
def test_the_order_of_prompts_changes_no_point_estimate(name: Name) -> None:
    order = torch.randperm(planted.PROMPTS, generator=planted.seeded(1))
    network = planted.network(name)
    other = Features(
        replace(network, x=network.x[order]), planted.traits(), planted.directions()[:FEW], planted.RATE[:FEW],
        planted.active()[order.numpy(), :FEW],
    )  # fmt: skip
    one, two = (climb(each, planted.pool("real_mixture"), FEW) for each in (subset(network, FEW), other))
    assert games.resampled_auc(one.table())[0] == pytest.approx(games.resampled_auc(two.table())[0], abs=1e-4)
    assert games.difference(one.table("convexity")).value == pytest.approx(
        games.difference(two.table("convexity")).value, abs=1e-5
    )


def test_a_fake_without_a_rate_of_its_own_is_active_as_often_as_its_feature() -> None:
    features = replace(planted.features("linear"), respond=Network(planted.linear, planted.cloud().x[:2000]))
    for share in (0.0, 0.1, 0.5, 1.0):
        found = ladder.active_at(features, planted.mixtures()[:12], np.full(12, share))
        assert found.mean() == pytest.approx(share, abs=0.02)


# What has no honest number


def outcome(score: Callable[[], Estimate]) -> Estimate | str:
    """A score, or the reason why there is none; estimates check themselves for NaN."""
    try:
        estimate = score()
    except Unscored as unscored:
        return unscored.reason
    assert all(np.isfinite(value) for value in estimate.controls.values())
    return estimate


def scores_of(rung: Rung) -> list[Estimate | str]:
    lineup = planted.lineup("linear", covariance_mixture=rung)
    return [
        outcome(lambda: metric.rung_auc(lineup.rungs, "covariance_mixture")),
        outcome(lambda: metric.auc(lineup)),
        outcome(lambda: metric.accuracy(lineup)),
        outcome(lambda: metric.sensitivity_log_ratio(lineup)),
        outcome(lambda: metric.noise_suppression_gap(lineup)),
    ]


def test_features_that_are_active_everywhere_are_not_asked_about_and_have_no_score() -> None:
    dense = replace(planted.features("linear"), active=np.ones_like(planted.active()), _known={})
    found = scores_of(climb(dense, planted.pool("covariance_mixture"), FEW))
    assert all(isinstance(each, str) for each in found)


def constant(points: Tensor) -> Tensor:
    return torch.ones(len(points), 1)


def unknown(points: Tensor) -> Tensor:
    return torch.full((len(points), 1), float("nan"))


def test_a_network_that_never_answers_tells_nothing() -> None:
    rung = climb(subset(Network(constant), FEW), planted.pool("covariance_mixture"), FEW)
    for each in scores_of(rung):
        assert isinstance(each, str) or (contains_chance(each) and each.value in (0.0, 0.5)) or each.value < 0.6
    for found in (outcome(lambda: scored(rung)), outcome(lambda: games.accuracy(rung.table()))):
        assert isinstance(found, str) or found.value == pytest.approx(0.5, abs=0.02)


def test_parts_of_a_network_that_never_answers_tell_nothing() -> None:
    parts = some_parts(Network(constant), 12)
    found = outcome(lambda: scored(parts.decomposed("white", whiten)))
    assert isinstance(found, str) or found.value == 0.5


def test_a_network_that_answers_nan_has_no_score() -> None:
    rung = climb(subset(Network(unknown), FEW), planted.pool("covariance_mixture"), FEW)
    assert all(isinstance(each, str) for each in scores_of(rung))


def test_a_prompt_whose_answers_are_nan_is_left_out() -> None:
    """And not counted as one at which neither feature nor fake does anything."""
    network = planted.network("thresholded")
    broken = replace(network, x=network.x.clone())
    broken.x[5] = float("nan")
    rung = climb(subset(broken, FEW), planted.pool("covariance_mixture"), FEW)
    rest = np.delete(np.arange(planted.PROMPTS), 5)
    table, plain = rung.table(), climb(subset(network, FEW), planted.pool("covariance_mixture"), FEW).table()
    without = games.Table(plain.real[rest], plain.fake[rest], plain.real_id[rest], plain.fake_id[rest])
    assert np.isnan(table.real[5]).all()
    assert games.resampled_auc(table)[0] == pytest.approx(point(without))


def test_a_level_that_is_not_known_is_not_a_level_that_is_never_reached() -> None:
    known = planted.rung("thresholded", "covariance_mixture")
    level = known.level[0].copy()
    level[3] = np.nan
    table = replace(known, level=(level, known.level[1])).table()
    assert np.isnan(table.real[3]).all()


def test_a_network_that_does_not_answer_to_mixtures_gives_no_level_and_no_warning() -> None:
    """Whatever features do is then infinitely more, which is no number."""
    known = planted.rung("thresholded", "covariance_mixture")
    zero = np.zeros(planted.PROMPTS)
    found = outcome(lambda: scored(replace(known, level=(zero, zero))))
    assert isinstance(found, str) or found.value > 0.9


def test_directions_of_zeros_have_no_part_in_a_score() -> None:
    """Nor in the scale by which the others are matched, or careless fakes would pass for careful ones."""
    rows = planted.directions().clone()
    rows[5] = 0.0
    features = Features(planted.network("linear"), planted.traits(), rows, planted.RATE, planted.active())
    rung = climb(features, planted.pool("isotropic"), planted.MOST)
    assert rung.imbalance is not None or contains_chance(scored(rung))
    assert "log variance" in str(climb(features, planted.pool("isotropic"), planted.MOST, np.inf).imbalance)


def test_nothing_but_directions_of_zeros_has_no_score_or_a_draw() -> None:
    features = Features(
        planted.network("linear"), planted.traits(), torch.zeros(FEW, planted.D), planted.RATE[:FEW],
        np.zeros((planted.PROMPTS, FEW), dtype=bool),
    )  # fmt: skip
    zeros = Pool("zeros", torch.zeros(FEW, planted.D))
    for found in scores_of(climb(features, zeros, FEW)):
        assert isinstance(found, str) or found.value < 0.6
    for found in scores_of(climb(features, planted.pool("covariance_mixture"), FEW)):
        assert isinstance(found, str)


def test_parts_of_zeros_have_no_score_or_a_draw() -> None:
    parts = Parts(
        planted.network("linear"), planted.traits(), torch.zeros(planted.PROMPTS, planted.K, planted.D),
        planted.part_ids(),
    )  # fmt: skip
    found = outcome(lambda: scored(parts.against("mixture", planted.mixtures()[:72].view(planted.PROMPTS, 3, -1))))
    assert isinstance(found, str) or found.value == pytest.approx(0.5, abs=0.1)


def test_one_prompt_gives_a_number_or_a_reason() -> None:
    network = replace(planted.network("linear"), x=planted.x()[:1])
    rung = climb(subset(network, FEW), planted.pool("covariance_mixture"), FEW)
    for found in (outcome(lambda: scored(rung)), outcome(lambda: games.accuracy(rung.table()))):
        assert isinstance(found, str) or contains_chance(found)


@pytest.mark.parametrize("n", [0, 1])
def test_one_feature_or_none_is_too_few(n: int) -> None:
    with pytest.raises(Unscored):
        climb(subset(planted.network("linear"), n), planted.pool("covariance_mixture"), planted.MOST)


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_parts_of_one_prompt_have_no_interval(n: int) -> None:
    own = planted.contributions()[:1, :n]
    network = replace(planted.network("linear"), x=planted.x()[:1])
    parts = Parts(network, planted.traits(), own, planted.part_ids()[:1, :n])
    assert isinstance(outcome(lambda: scored(parts.decomposed("white", whiten))), str)


def test_pictures_of_features_that_were_never_asked_about_make_no_noise() -> None:
    """A fake that is active at all prompts has a curve nowhere."""
    known = planted.rung("linear", "covariance_mixture")
    asked = np.ones(known.fake_id.shape, dtype=bool)
    asked[:, 4] = False
    estimate = metric.rung_auc({"mixture": replace(known, fake=known.fake.only(asked))}, "mixture")
    assert np.isfinite(estimate.items["fake"]).all()


# Matching


def some_rows(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 4))


def test_pairs_are_within_the_caliper_in_every_trait_and_each_fake_is_taken_once() -> None:
    real, fake, scale = some_rows(80, 0), some_rows(4000, 1), np.array([1.0, 2.0, 0.5, 1.0])
    pairs = match(real, fake, scale, 50)
    assert 15 < len(pairs) <= 50
    assert (np.abs(real[pairs[:, 0]] - fake[pairs[:, 1]]) <= 0.2 * scale * (1 + 1e-9)).all()
    assert len(set(pairs[:, 1].tolist())) == len(pairs)
    assert (np.diff(pairs[:, 0]) > 0).all()


def test_an_infinite_caliper_pairs_rows_as_they_come() -> None:
    assert match(some_rows(9, 0), some_rows(4, 1), np.ones(4), 50, np.inf).tolist() == [[i, i] for i in range(4)]
    assert match(some_rows(9, 0), some_rows(4, 1), np.ones(4), 3, np.inf).tolist() == [[i, i] for i in range(3)]


def test_nothing_is_matched_to_nothing() -> None:
    for real, fake in ((0, 5), (5, 0)):
        assert match(some_rows(real, 0), some_rows(fake, 1), np.ones(4), 5).shape == (0, 2)
    assert match(some_rows(5, 0), 100 + some_rows(5, 1), np.ones(4), 5).shape == (0, 2)


def test_a_fake_that_is_free_is_found_among_many_that_are_taken() -> None:
    """A hundred features that are all alike and as many fakes that are like them."""
    alike = np.zeros((100, 4))
    assert len(match(alike, alike, np.ones(4), 100)) == 100


def test_a_single_fake_goes_to_the_first_feature() -> None:
    assert match(np.zeros((3, 4)), np.zeros((1, 4)), np.ones(4), 3).tolist() == [[0, 0]]


# Moves along a direction that the activation has already


def test_a_direction_along_the_activation_itself_is_not_turned_towards_rounding_errors() -> None:
    x = planted.x()[0]
    along = 3.7 * (x - x.mean())
    turned = moves.rotated(x, along[None], torch.from_numpy(ANGLES).float())[0]
    unit = (x - x.mean()) / (x - x.mean()).norm()
    beside = turned - x.mean() - ((turned - x.mean()) @ unit)[:, None] * unit
    assert beside.norm(dim=1).max() < 1e-3 * x.norm()
