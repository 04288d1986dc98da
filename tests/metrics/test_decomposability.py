"""What is planted is found, what is meaningless is called none, and questions without an answer stay unscored."""

from dataclasses import replace

import numpy as np
import planted_phrases as planted
import pytest

from saebench.evidence.phrases.decomposed import Decomposed
from saebench.metrics import decomposability as metric
from saebench.record.score import Unscored

BANK = planted.bank()
OWN = planted.own_phrases(BANK)


def noise(rate: float, seed: int = 0, features: int = len(BANK.features)) -> np.ndarray:
    """Latents that are active on any phrase with the same chance."""
    return (np.random.default_rng(seed).random((features, len(BANK.phrases))) < rate).astype(float)


def shares(own: np.ndarray) -> list[float]:
    found = planted.decomposed(BANK, own)
    return [metric.kind_share(found, kind).value for kind in metric.KINDS]


def published(own: np.ndarray) -> list[float]:
    found = planted.decomposed(BANK, own)
    return [metric.kind_share(found, kind).controls["as_published"] for kind in metric.KINDS]


def test_the_indicator_of_a_features_own_phrases_is_at_the_ceiling() -> None:
    oracle = planted.decomposed(BANK, OWN)
    assert metric.j(oracle).value == metric.coverage(oracle).value == 1
    assert metric.evenness(oracle).value == pytest.approx(1)
    assert shares(OWN) == [0, 0, 1]
    assert metric.j(oracle).ci_low > 0.8  # forty features, all alike: never certain


def test_what_is_active_on_everything_is_made_of_nothing() -> None:
    everything = np.ones_like(OWN)
    found = planted.decomposed(BANK, everything)
    assert metric.j(found).value == pytest.approx(0, abs=1e-9)
    assert metric.coverage(found).value == 0
    assert shares(everything) == [1, 0, 0]
    assert published(everything) == [0, 0, 1]


def test_a_meaningless_feature_is_not_partial_though_it_is_as_published() -> None:
    """One phrase in twenty hit by chance makes 1 - .95^15 = 54% of features partial, where there are no controls."""
    with_controls, without = (
        np.mean([each(noise(0.05, seed)) for seed in range(25)], axis=0) for each in (shares, published)
    )
    assert without[1] == pytest.approx(1 - 0.95**15, abs=0.03)
    assert with_controls[1] + with_controls[2] <= 0.05


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.2, 0.3])
def test_no_more_than_one_in_twenty_is_more_than_none_by_chance(rate: float) -> None:
    none = np.mean([shares(noise(rate, seed))[0] for seed in range(10)])
    assert none >= 0.93


def test_hits_that_come_in_whole_subcomponents_by_chance_do_not_fool_it() -> None:
    """A latent that is active on one subcomponent in twenty, whoever's, on all of its phrases."""
    draw = np.random.default_rng(1).random((len(BANK.features), len(BANK.part_names))) < 0.05
    assert shares(draw[:, BANK.part_of].astype(float))[0] >= 0.93
    assert published(draw[:, BANK.part_of].astype(float))[1] > 0.15


@pytest.mark.parametrize("covered", [0, 1, 2, 3, 4, 5])
def test_as_many_subcomponents_are_found_as_were_planted(covered: int) -> None:
    own = np.maximum(OWN * (planted.part_number(BANK) < covered), noise(0.01))
    found = planted.decomposed(BANK, own)
    assert metric.coverage(found).value == pytest.approx(covered / 5, abs=0.05)
    assert metric.j(found).value == pytest.approx(covered / 5, abs=0.03)
    expected = "none" if covered == 0 else "all" if covered == 5 else "partial"
    assert metric.kind_share(found, expected).value > 0.93


def test_j_follows_the_dose() -> None:
    values = [metric.j(planted.decomposed(BANK, OWN * noise(dose))).value for dose in (0.1, 0.3, 0.5, 0.7, 0.9)]
    assert values == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9], abs=0.04)
    assert values == sorted(values)


def test_evenness_is_that_of_the_planted_shares() -> None:
    one = planted.decomposed(BANK, OWN * (planted.part_number(BANK) == 2))
    two = planted.decomposed(BANK, OWN * (planted.part_number(BANK) < 2))
    assert metric.evenness(one).value == pytest.approx(0, abs=1e-9)
    assert metric.evenness(two).value == pytest.approx(np.log(2) / np.log(5))


def test_floors_are_those_of_the_best_of_the_useless() -> None:
    dense = np.ones((2, OWN.shape[1]))
    found = planted.decomposed(BANK, OWN, random=0.25 * OWN * noise(0.4), dense=dense)
    estimate = metric.j(found)
    assert estimate.controls["random_directions"] == pytest.approx(0.4, abs=0.05)
    assert estimate.floor == estimate.controls["random_directions"]
    assert estimate.controls["other_features"] == pytest.approx(0, abs=0.05)
    assert estimate.controls["dense_latents"] == pytest.approx(0, abs=1e-9)
    assert estimate.controls["near_miss_rate"] == 0


def test_below_a_tenth_of_the_percentile_is_no_hit() -> None:
    estimate = metric.j(planted.decomposed(BANK, 0.09 * OWN))
    assert estimate.value == 0
    assert estimate.controls["j_at_any_activation"] == 1


def test_features_that_share_a_subject_are_no_controls_of_each_other() -> None:
    """Twenty pairs of features that are the same but in name: each latent is active on both of a pair."""
    twins = replace(BANK, features=tuple(
        replace(one, parts=BANK.features[i - i % 2].parts, about=BANK.features[i - i % 2].about)
        for i, one in enumerate(BANK.features)
    ))  # fmt: skip
    pair = np.arange(len(twins.features)) // 2
    own = (pair[:, None] == pair[twins.feature_of][None]).astype(float)
    found = planted.decomposed(twins, own)
    assert metric.j(found).value == 1
    assert metric.kind_share(found, "all").value == 1


def test_it_says_how_many_features_a_standard_error_needs_and_where_the_variance_is() -> None:
    rates = np.random.default_rng(3).random(len(BANK.features))
    own = OWN * (np.random.default_rng(4).random(OWN.shape) < rates[:, None])
    estimate = metric.j(planted.decomposed(BANK, own))
    variance = estimate.items["contribution"].var(ddof=1)
    assert estimate.controls["features_for_se_of_0.02"] == np.ceil(variance / 0.02**2)
    alike = metric.j(planted.decomposed(BANK, OWN * noise(0.5)))
    assert alike.controls["variance_between_features"] < 0.1 < 0.2 < estimate.controls["variance_between_features"]


def test_items_tell_every_subcomponent_and_its_phrases() -> None:
    items = metric.j(planted.decomposed(BANK, OWN * (planted.part_number(BANK) == 0))).items
    rows = items["latent"] == 7
    assert items["feature"][rows].tolist() == ["feature 7"] * 5
    assert items["rate"][rows].tolist() == [1, 0, 0, 0, 0]
    assert items["phrases"][rows][0] == "+ feature 7, 0, 0\n+ feature 7, 0, 1\n+ feature 7, 0, 2"
    assert items["phrases"][rows][1].startswith("- feature 7, 1, 0")
    assert set(items["class"][rows]) == {"partial"}


def few(count: int) -> Decomposed:
    whole = planted.decomposed(BANK, OWN)
    rows = np.arange(count)
    return replace(
        whole,
        feature=rows,
        latent=rows,
        f1=whole.f1[rows],
        own=whole.own[rows],
        near=whole.near[rows],
        random=whole.random[rows],
    )


@pytest.mark.parametrize("count", [0, 7])
def test_too_few_features_have_no_mean(count: int) -> None:
    for score in (metric.j, metric.coverage, metric.evenness, lambda found: metric.kind_share(found, "all")):
        with pytest.raises(Unscored, match=f"{count} of 40 that were asked about have both"):
            score(few(count))
    assert metric.found_share(few(count)).value == count / 40


def test_a_bank_that_is_too_small_to_tell_has_no_classes() -> None:
    small = planted.bank(features=10)
    with pytest.raises(Unscored, match="too small"):
        metric.kind_share(planted.decomposed(small, planted.own_phrases(small)), "all")
    assert metric.j(planted.decomposed(small, planted.own_phrases(small))).value == 1


def test_evenness_of_nothing_is_not_told() -> None:
    with pytest.raises(Unscored, match="beyond chance"):
        metric.evenness(planted.decomposed(BANK, np.zeros_like(OWN)))


def test_two_latents_of_one_feature_both_count() -> None:
    whole = planted.decomposed(BANK, OWN)
    rows = np.repeat(np.arange(10), 2)
    found = replace(
        whole,
        feature=rows,
        latent=np.arange(20),
        f1=np.ones(20),
        own=whole.own[rows],
        near=whole.near[rows],
        random=whole.random[rows],
    )
    estimate = metric.j(found)
    assert (estimate.value, estimate.n) == (1, 20)
    assert len(set(estimate.items["item"])) == 20
