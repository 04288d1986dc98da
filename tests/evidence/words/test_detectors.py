"""Latents, thresholds, splits and children are found where they were planted, and no test word has a say in it."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import planted_words as words
import pytest
import torch
from numpy.typing import NDArray
from planted_words import World
from scipy import sparse

from saebench.evidence.words import detectors as metric
from saebench.evidence.words.children import Children, find_children
from saebench.evidence.words.detectors import Detectors, find_detectors
from saebench.evidence.words.probes import Probe, best_thresholds
from saebench.evidence.words.study import Study
from saebench.evidence.words.vocabulary import Split
from saebench.metrics import first_letter
from saebench.record.score import Estimate, Unscored
from saebench.stats.two_way import over_concepts

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
HALVES = ((14, 6, 11), (13, 6, 10))
"""Two parts of a concept that are all of its words."""


@cache
def found(delta: float = 0.5) -> tuple[Study, Detectors]:
    study = words.study_of(words.world(), words.absorbing(words.world(), delta))
    return study, find_detectors(study)


def same_choice(one: Detectors, other: Detectors) -> None:
    for name in ("order", "threshold", "validation_f1", "split_count"):
        assert (getattr(one, name) == getattr(other, name)).all(), name


# Main latents


@pytest.mark.parametrize("delta", [0.0, 0.5, 1.0])
def test_main_latents_are_the_parents(delta: float) -> None:
    study, detectors = found(delta)
    assert detectors.main.tolist() == words.world().parents
    assert detectors.split_count.tolist() == [1] * 6
    assert [detectors.split_latents(concept).tolist() for concept in range(6)] == [[i] for i in range(6)]
    assert first_letter.precision(study, detectors).value == pytest.approx(1)


@pytest.mark.parametrize("delta", [0.0, 0.5, 0.75])
def test_thresholds_are_between_what_they_tell_apart(delta: float) -> None:
    study, detectors = found(delta)
    known = ~study.rows(Split.TEST)
    for concept, main in enumerate(detectors.main):
        values = study.columns[:, [main]].toarray()[:, 0]
        member = study.row_member[:, concept]
        assert values[known & ~member].max() < detectors.threshold[concept] < values[known & member].min()
        assert (detectors.said[:, concept, 0] == (values > detectors.threshold[concept])).all()


def test_the_better_of_two_latents_is_the_main_one() -> None:
    """One misses every third word of its concept; the other fires at a few, then at many, words of none."""
    on, n = toy(), 60
    misses, errs = np.where(on & (np.arange(2 * n) // 3 % 3 > 0), 1.0, 0.0), np.where(on, 1.0, 0.0)
    errs[n : n + 2] = 1.0
    assert find_detectors(by_hand(np.stack([misses, errs], axis=1))).main[0] == 1
    errs[n : n + 40] = 1.0
    assert find_detectors(by_hand(np.stack([misses, errs], axis=1))).main[0] == 0


def test_order_of_latents_does_not_matter_where_two_do_equally_well() -> None:
    """Both are right at all known words, one is silent at half of the test words, and writes less along the probe."""
    on, split = toy(), splits()
    all_right, half = (
        np.where(on, 1.0, 0.0),
        np.where(on & ~((split == Split.TEST) & (np.arange(120) % 2 == 0)), 1.0, 0.0),
    )
    recalls = []
    for latents, decoder in (([all_right, half], [[1.0], [0.5]]), ([half, all_right], [[0.5], [1.0]])):
        study = replace(by_hand(np.stack(latents, axis=1)), decoder=torch.tensor(decoder))
        recalls.append(find_detectors(study).said[study.rows(Split.TEST) & on, 0, 0].mean())
    assert recalls[0] == recalls[1]


# Splits


def splitting(on: World, concepts: tuple[int, ...]) -> SimpleNamespace:
    """Latents of both halves write what is common to some concepts, whose own latents are silent."""
    some = tuple(parent if parent in concepts else -1 for parent in on.parent_of)
    source = words.absorbing(replace(on, parent_of=()), 0.0)
    for child, parent in zip(on.children, some, strict=True):
        if parent >= 0:
            source.W_enc[:, parent] = 0.0
            source.W_dec[child] += on.directions[parent]
    return words.jump_sae(source.W_enc, -on.mean @ source.W_enc, source.W_dec, on.mean, source.threshold)


def test_a_concept_in_two_halves_is_split_over_two_latents() -> None:
    on = words.world(HALVES)
    study = words.study_of(on, splitting(on, (0, 3)))
    detectors = find_detectors(study)
    assert detectors.split_count.tolist() == [2, 1, 1, 2, 1, 1]
    for concept in (0, 3):
        halves = [child for child, parent in zip(on.children, on.parent_of, strict=True) if parent == concept]
        assert sorted(detectors.split_latents(concept)) == halves
    values = (
        first_letter.f1(study, detectors).items["contribution"],
        first_letter.split_f1(study, detectors).items["contribution"],
    )
    assert values[0][[0, 3]] == pytest.approx(2 / 3, abs=0.05)
    assert values[1] == pytest.approx(1, abs=0.02)
    assert first_letter.split_count(study, detectors).value == pytest.approx(8 / 6)


def test_all_concepts_in_two_halves() -> None:
    on = words.world(HALVES)
    study = words.study_of(on, splitting(on, tuple(range(6))))
    detectors = find_detectors(study)
    assert first_letter.split_count(study, detectors).value == 2
    assert first_letter.split_f1(study, detectors).value > first_letter.f1(study, detectors).value + 0.25
    assert first_letter.split_recall(study, detectors).value > first_letter.recall(study, detectors).value + 0.4


def test_what_completes_a_concept_is_found_however_weak_it_is() -> None:
    """Beside a latent a thousand times as strong that is on at any word, a little more often at the concept's."""
    on, row = toy(), np.arange(120)
    half, rest = on & (row // 3 % 2 == 0), on & (row // 3 % 2 == 1)
    any_word = np.where(row // 3 % 4 == 1, 100.0, 0.0) + np.where(rest, 10.0, 0.0)
    detectors = find_detectors(by_hand(np.stack([1.0 * half, any_word, 0.1 * rest], axis=1)))
    assert detectors.main.tolist() == [0]
    assert detectors.order[0, :2].tolist() == [0, 2]
    assert detectors.split_count.tolist() == [2]


@pytest.mark.parametrize(
    ("f1", "count"),
    [
        ([0.5, 0.6, 0.7, 0.8], 4),
        ([0.5, 0.6, 0.7, 0.71], 3),
        ([0.5, 0.52, 0.9, 0.99], 1),
        ([0.5, 0.6, 0.62, 0.9], 2),
        ([0.5, 0.52, 0.54, 0.56], 1),
        ([0.9, 0.5, 0.95, 0.99], 1),
        ([0.0, 0.0, 0.0, 0.0], 1),
        ([0.5], 1),
    ],
)
def test_a_split_ends_where_f1_does_not_jump(f1: list[float], count: int) -> None:
    assert metric.split_counts(np.array([f1])).tolist() == [count]


def test_splits_are_counted_as_in_saebench() -> None:
    f1 = np.random.default_rng(0).uniform(0, 0.1, size=(500, 10)).cumsum(axis=1)
    assert metric.split_counts(f1).tolist() == [counted(row) for row in f1.tolist()]
    assert len(set(metric.split_counts(f1).tolist())) > 5


def counted(row: list[float]) -> int:
    """Compares with the last F1 that was accepted, and ends at the first that is not."""
    accepted, count = -100.0, 0
    for value in row:
        if value <= accepted + 0.03:
            break
        accepted, count = value, count + 1
    return count


# Thresholds and ties


def f1_above(scores: Floats, member: Bools, threshold: float) -> float:
    said = scores > threshold
    return float(2 * (said & member).sum() / max(said.sum() + member.sum(), 1))


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_no_threshold_does_better(levels: int) -> None:
    """With few levels most scores are ties."""
    rng = np.random.default_rng(levels)
    scores, member = rng.integers(0, levels, size=(80, 30)).astype(np.float64), rng.random((80, 30)) < 0.3
    scores += 0.3 * levels * member * rng.random((80, 30)).round()
    best, thresholds = best_thresholds(scores, member)
    for i in range(30):
        every = [f1_above(scores[:, i], member[:, i], level - 0.5) for level in np.unique(scores[:, i])]
        assert best[i] == pytest.approx(max(every))
        assert f1_above(scores[:, i], member[:, i], thresholds[i]) == pytest.approx(best[i])
        assert thresholds[i] not in scores[:, i]


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_f1_of_every_latent_is_that_of_its_best_threshold_above_zero(levels: int) -> None:
    rng = np.random.default_rng(levels)
    dense = rng.integers(-1, levels, size=(60, 12)) * (rng.random((60, 12)) < 0.5)
    dense[:, 0] = 0
    member, rows = rng.random((60, 4)) < 0.4, rng.random(60) < 0.7
    f1 = metric.latent_f1(sparse.csc_array(dense.astype(np.float32)), member, rows)
    for concept in range(4):
        for latent in range(12):
            column, wanted = dense[rows, latent].astype(np.float64), member[rows, concept]
            levels_above = [level - 0.5 for level in np.unique(column) if level > 0]
            every = [f1_above(column, wanted, level) for level in levels_above]
            assert f1[concept, latent] == pytest.approx(max(every, default=0.0))


# Test words


def elsewhere(study: Study, split: Split = Split.TEST) -> Study:
    """The same study with other latents and other concepts at the words of one split."""
    words_of, rows, rng = study.split == split, study.rows(split), np.random.default_rng(0)
    dense = study.latents.toarray()
    dense[rows] = rng.exponential(size=dense[rows].shape) * (rng.random(dense[rows].shape) < 0.3)
    member = study.member.copy()
    member[words_of] = rng.random(member[words_of].shape) < 0.2
    return replace(study, latents=sparse.csr_array(dense), member=member)


@pytest.mark.parametrize("delta", [0.5, 1.0])
def test_test_words_have_no_say_in_what_is_chosen(delta: float) -> None:
    study, detectors = found(delta)
    other = find_detectors(elsewhere(study))
    same_choice(detectors, other)
    known = ~study.rows(Split.TEST)
    assert (detectors.said[known] == other.said[known]).all()


@pytest.mark.parametrize("seed", range(12))
def test_test_words_have_no_say_in_close_choices(seed: int) -> None:
    """Twelve latents that are always on and all about as good, so that the choice is for thresholds to make."""
    rng = np.random.default_rng(seed)
    study = by_hand(rng.exponential(size=(120, 12)) + 0.8 * toy()[:, None])
    same_choice(find_detectors(study), find_detectors(elsewhere(study)))


def test_test_words_have_no_say_in_what_is_a_child_but_by_being_its_only_word() -> None:
    study, detectors = found(1.0)
    changed = elsewhere(study)
    seen = study.columns[~study.rows(Split.TEST)]
    on_known = np.asarray((seen > 0).sum(axis=0)).ravel() > 0
    children = find_children(study, detectors)
    assert children
    for mine, other in zip(children, find_children(changed, find_detectors(changed)), strict=True):
        assert set(mine.latents[on_known[mine.latents]]) == set(other.latents[on_known[other.latents]])
        assert len(mine.latents[on_known[mine.latents]]) == 2
        assert set(mine.controls) == set(other.controls)


@pytest.mark.parametrize("split", [Split.TRAIN, Split.VALIDATION])
def test_other_words_have(split: Split) -> None:
    """So that the tests above can fail."""
    study, detectors = found(1.0)
    other = find_detectors(elsewhere(study, split))
    assert not (detectors.order == other.order).all()
    assert not (detectors.threshold == other.threshold).all()


# Children


def toy() -> Bools:
    """(word,) the first half of 120 words is of the concept."""
    return np.arange(120) < 60


def splits() -> NDArray[np.int8]:
    return np.resize(np.array([Split.TRAIN, Split.VALIDATION, Split.TEST], dtype=np.int8), 120)


def by_hand(latents: Floats, prefixes: int = 1) -> Study:
    """A study of one concept with given latents (word, d_sae), or (word, prefix, d_sae)."""
    each = latents if latents.ndim == 3 else np.repeat(latents[:, None], prefixes, axis=1)
    d_sae = each.shape[2]
    direction, x = torch.ones(1, 1), torch.zeros(each.shape[0] * each.shape[1], 1)
    return Study(
        ("concept",), tuple(f" w{i}" for i in range(len(latents))), splits(), toy()[:, None], each.shape[1], x,
        Probe(direction, torch.zeros(1)), sparse.csr_array(each.reshape(-1, d_sae).astype(np.float32)),
        torch.ones(d_sae, 1),
    )  # fmt: skip


def at(*rows: int, value: float = 1.0) -> Floats:
    column = np.zeros(120)
    column[list(rows)] = value
    return column


def children_with(*others: Floats, main: Floats | None = None) -> Children:
    """Children of a concept whose main latent is latent 0, beside others from 1 on."""
    main = np.where(toy(), 1.0, 0.0) if main is None else main
    study = by_hand(np.stack([main, *others], axis=1))
    n = 1 + len(others)
    choice = Detectors(
        np.arange(n)[None, :], np.array([0.5]), np.zeros((120, 1, n), dtype=bool), np.zeros((1, n)), np.array([1])
    )
    return find_children(study, choice)[0]


TRAIN, TEST = range(0, 60, 3), range(2, 60, 3)
"""Words of the concept."""


@pytest.mark.parametrize(
    ("column", "is_child"),
    [
        (at(0, 3), True),
        (at(0, 1, 2), True),
        (at(0, 2, 5), False),
        (at(*range(30)), True),
        (at(*range(40)), False),
        (at(*range(27), 60, 61), True),
        (at(0, 3, 60), False),
        (at(*range(6), 60), False),
        (at(0, 3, 62, 65), True),
        (at(60, 61, 63), False),
    ],
    ids=[
        "two train words", "a train, a validation and a test word", "one known word", "half of the words",
        "two thirds of the words", "nine in ten", "two in three", "four in five", "other test words", "of others",
    ],
)  # fmt: skip
def test_a_child_is_on_at_a_part_of_the_concept_and_nowhere_else(column: Floats, is_child: bool) -> None:
    """Every third word is a test word."""
    assert children_with(column).latents.tolist() == ([1] if is_child else [])


def test_the_words_of_a_child_are_those_of_the_concept_that_it_is_on_at() -> None:
    found = children_with(at(0, 3, 5, 62))
    assert np.flatnonzero(found.with_child).tolist() == [0, 3, 5]
    assert found.others.sum() == 57


def test_the_main_latent_may_be_weaker_at_a_child_and_not_stronger() -> None:
    for level, is_child in ((0.0, True), (0.5, True), (1.0, True), (1.05, True), (1.5, False)):
        main = np.where(toy(), 1.0, 0.0) + at(0, 3, value=level - 1)
        assert (children_with(at(0, 3), main=main).latents.tolist() == [1]) == is_child


@pytest.mark.parametrize(
    ("column", "is_own"),
    [
        (at(TEST[0]), True),
        (at(TEST[0], value=0.6), True),
        (at(TEST[0], value=0.4), False),
        (at(TRAIN[0]), False),
        (at(TEST[0], TEST[1]), False),
        (at(TEST[0], 60), False),
        (at(62), False),
    ],
    ids=["test word", "strong", "weak", "train word", "two words", "another's word too", "another's test word"],
)
def test_an_own_latent_is_on_at_one_test_word_of_all(column: Floats, is_own: bool) -> None:
    assert children_with(column).latents.tolist() == ([1] if is_own else [])


@pytest.mark.parametrize("words, is_child", [((0, 3, 5), True), (range(28), False)])
def test_large_latents_of_the_split_are_no_children(words: Sequence[int], is_child: bool) -> None:
    main, part = np.where(toy(), 1.0, 0.0), at(*words)
    choice = Detectors(
        np.array([[0, 1]]), np.array([0.5]), np.zeros((120, 1, 2), dtype=bool), np.zeros((1, 2)), np.array([2])
    )
    study = by_hand(np.stack([main, part], axis=1))
    assert bool(len(find_children(study, choice)[0].latents)) == is_child
    assert len(find_children(study, choice, False)[0].latents) == 1


def test_a_control_is_as_large_as_the_child_and_mostly_elsewhere() -> None:
    child, alike, large, mine = at(0, 3), at(6, 9, 60, 61, 63, 64, 66, 67), at(*range(9, 100)), at(12, 15)
    found = children_with(child, alike, large, mine)
    assert found.latents.tolist() == [1, 4]
    assert found.controls.tolist() == [2]
    assert np.flatnonzero(found.with_control).tolist() == [6, 9]


def test_a_latent_that_is_three_times_as_often_of_the_concept_as_chance_would_have_it_is_no_control() -> None:
    """Concepts of a sixth of the words: half of a latent's words is much."""
    on = words.world(((2, 0, 3), (2, 0, 3)))
    study = words.study_of(on, words.absorbing(on, 1.0))
    dense = study.latents.toarray()
    for child, parent in zip(on.children[1::2], on.parent_of[1::2], strict=True):
        others = np.flatnonzero((study.split == Split.TRAIN) & ~study.member[:, parent])[:2]
        dense[np.isin(study.word_of, others), child] = 1.0
    leaky = replace(study, latents=sparse.csr_array(dense))
    children = find_children(leaky, find_detectors(leaky))
    assert len(children) > 1
    assert any(len(found.latents) for found in children)
    for found in children:
        assert not set(found.controls) & set(on.children)


# Intervals over words and concepts


def simulated(
    rng: np.random.Generator, concepts: int = 12, of_each: int = 25, spread: float = 0.1
) -> dict[str, Floats]:
    """Words of concepts with rates of their own around a half."""
    rates = (0.5 + spread * rng.standard_normal(concepts)).clip(0, 1)
    owner = np.repeat(np.arange(concepts), of_each)
    member = owner[:, None] == np.arange(concepts)
    hit = rng.random(len(owner)) < rates[owner]
    return {"hit": (member & hit[:, None]).astype(float), "word": member.astype(float)}


def rate_of(sums: dict[str, Floats]) -> Estimate:
    names = [f"c{i}" for i in range(sums["word"].shape[1])]
    return over_concepts(sums, lambda s: s["hit"] / s["word"], purpose="planted", concepts=names)


def test_value_is_the_mean_over_concepts_whatever_their_sizes() -> None:
    sums = {"hit": np.array([[1.0, 0], [1, 0], [1, 0], [0, 0]]), "word": np.array([[1.0, 0], [1, 0], [1, 0], [0, 1]])}
    assert rate_of(sums).value == 0.5
    assert rate_of(sums).items["contribution"].tolist() == [1, 0]
    assert rate_of(sums).items["item"].tolist() == ["c0", "c1"]


@pytest.mark.parametrize("seed", range(5))
def test_interval_holds_the_value_and_is_always_the_same(seed: int) -> None:
    one, other = (rate_of(simulated(np.random.default_rng(seed))) for _ in range(2))
    assert one.ci_low < one.value < one.ci_high
    assert (one.ci_low, one.ci_high, one.controls) == (other.ci_low, other.ci_high, other.controls)
    assert one.n == 12
    assert one.n_unit == "concept"


def test_more_words_or_concepts_make_a_narrower_interval() -> None:
    rng = np.random.default_rng(0)
    sizes = ((6, 8), (6, 40), (24, 40))
    estimates = [rate_of(simulated(rng, concepts, of_each)) for concepts, of_each in sizes]
    widths = [estimate.ci_high - estimate.ci_low for estimate in estimates]
    assert widths == sorted(widths, reverse=True)
    detectable = [estimate.controls["minimum_detectable_difference"] for estimate in estimates]
    assert detectable == sorted(detectable, reverse=True)


def test_words_alone_would_make_an_interval() -> None:
    """Concepts whose rates are all alike, of words that are not: drawing concepts anew moves nothing."""
    owner, hit = np.arange(40) % 4, np.arange(40) // 4 % 2
    member = (owner[:, None] == np.arange(4)).astype(float)
    estimate = rate_of({"hit": member * hit[:, None], "word": member})
    assert estimate.items["contribution"].tolist() == [0.5] * 4
    assert estimate.ci_high - estimate.ci_low > 0.2


def test_concepts_alone_would_make_an_interval() -> None:
    """Concepts whose words are all alike, and whose rates are not: drawing words anew moves nothing."""
    member = (np.arange(40)[:, None] % 4 == np.arange(4)).astype(float)
    estimate = rate_of({"hit": member * np.array([0.0, 1, 0, 1]), "word": member})
    assert estimate.ci_high - estimate.ci_low > 0.5


def test_concepts_without_a_value_are_left_out() -> None:
    sums = simulated(np.random.default_rng(0))
    fewer = {name: values.copy() for name, values in sums.items()}
    fewer["word"][:, 4] = 0.0
    estimate = rate_of(fewer)
    assert estimate.n == 11
    assert "c4" not in estimate.items["item"]
    assert estimate.value == pytest.approx(np.delete(rate_of(sums).items["contribution"], 4).mean())


@pytest.mark.parametrize("left", [0, 1])
def test_fewer_than_two_concepts_have_no_interval(left: int) -> None:
    sums = simulated(np.random.default_rng(0), concepts=4)
    sums["word"][:, left:] = 0.0
    with pytest.raises(Unscored, match=f"defined for {left} of 4 concepts"):
        rate_of(sums)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """Of 200 sets of concepts and words; two-way bootstraps err on the wide side."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        estimate = rate_of(simulated(rng))
        covered += estimate.ci_low <= 0.5 <= estimate.ci_high
    assert 0.9 <= covered / 200 <= 0.995


def test_rare_concepts_are_kept_though_some_resamples_have_none_of_their_words() -> None:
    sums = simulated(np.random.default_rng(0), concepts=8)
    for values in sums.values():
        values[1:25, 0] = 0.0
    estimate = rate_of(sums)
    assert estimate.n == 8
    assert estimate.ci_low < estimate.value < estimate.ci_high
