"""Absorption that was planted is measured, the same SAE in other words scores the same, and garbage is not scored."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import planted
import planted_words as words
import pytest
import torch
from planted_words import ABSORPTION, FIRST_LETTER, Outcome, Score, World

from saebench.evidence.words.children import Children, find_children
from saebench.evidence.words.concepts import ConceptSet
from saebench.evidence.words.detectors import Detectors, find_detectors
from saebench.evidence.words.published import SHARE
from saebench.evidence.words.study import Study, make_study
from saebench.evidence.words.vocabulary import Split
from saebench.metrics import absorption, first_letter
from saebench.record.score import Estimate, Unscored

DELTAS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
CHILD_SHARE = sum(test for _, _, test in words.SMALL) / words.WORDS[2]
"""Of a concept's test words, those at which a child is on."""


@cache
def absorbed(delta: float) -> tuple[Study, Detectors]:
    study = words.study_of(words.world(), words.absorbing(words.world(), delta))
    return study, find_detectors(study)


def scored(score: Score, on: World, sae: Any) -> Estimate:
    study = words.study_of(on, sae)
    return score(study, find_detectors(study))


def children(delta: float) -> tuple[Children, ...]:
    return find_children(*absorbed(delta))


# Planted absorption


@pytest.mark.parametrize("delta", DELTAS)
def test_suppression_is_what_was_planted(delta: float) -> None:
    estimate = absorption.suppression_ratio(*absorbed(delta))
    assert estimate.value == pytest.approx(delta, abs=0.02)
    assert estimate.ci_low <= delta <= estimate.ci_high + 1e-3
    assert estimate.n == 6


@pytest.mark.parametrize("delta", DELTAS)
def test_suppression_by_what_does_not_imply_the_concept_is_none(delta: float) -> None:
    """The control is a few words per concept, some of which have a child as well."""
    assert abs(absorption.suppression_ratio(*absorbed(delta)).controls["non_hierarchical"]) < 0.1


@pytest.mark.parametrize("delta", DELTAS)
def test_full_rate_is_the_share_of_words_with_a_child_where_nothing_is_left_to_the_parent(delta: float) -> None:
    estimate = absorption.full_rate(*absorbed(delta))
    assert estimate.value == pytest.approx(CHILD_SHARE if delta == 1 else 0, abs=0.01)
    assert estimate.ci_low <= estimate.value < estimate.ci_high


@pytest.mark.parametrize("delta", DELTAS)
def test_fraction_0_6_0_sees_nothing_below_its_threshold_and_then_all(delta: float) -> None:
    """A jump at .4: absorption of a quarter is 0, of a half is a half at every word with a child."""
    estimate = absorption.fraction_0_6_0(*absorbed(delta))
    assert estimate.value == pytest.approx(CHILD_SHARE * delta if delta >= SHARE else 0, abs=0.02)


@pytest.mark.parametrize("delta", DELTAS)
def test_fraction_0_3_2_grows_from_the_start(delta: float) -> None:
    assert absorption.fraction_0_3_2(*absorbed(delta)).value == pytest.approx(CHILD_SHARE * delta, abs=0.03)


@pytest.mark.parametrize(("delta", "expected"), [(0.5, 0), (0.75, 0), (1.0, 1)])
def test_recall_has_a_hole_where_the_parent_is_silent(delta: float, expected: float) -> None:
    assert absorption.recall_hole(*absorbed(delta)).value == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("delta", [0.0, 0.1, 0.25])
def test_without_carriers_there_is_no_hole_to_look_for(delta: float) -> None:
    with pytest.raises(Unscored, match=r"0 of 6 concepts") as caught:
        absorption.recall_hole(*absorbed(delta))
    assert not caught.value.broken


@pytest.mark.parametrize("delta", DELTAS)
def test_children_and_controls_are_those_that_were_planted(delta: float) -> None:
    on = words.world()
    for concept, found in enumerate(children(delta)):
        of_concept = [child for child, parent in zip(on.children, on.parent_of, strict=True) if parent == concept]
        assert sorted(found.latents) == of_concept
        assert set(found.controls) <= set(on.unrelated)
        assert (found.with_child == on.on[:, of_concept].any(1)).all()


def test_carriers_are_the_children_at_their_words() -> None:
    on, items = words.world(), absorption.full_rate(*absorbed(1.0)).items
    assert set(items["carrier"]) == set(on.children)
    text = {word.text: row for row, word in enumerate(on.readings.words)}
    at = [text[word] for word in items["carrier_word"]]
    assert on.on[at, items["carrier"]].all()
    assert [on.readings.concepts[main] for main in items["carrier_main"]] == list(items["carrier_concept"])
    assert items["carrier_share"] == pytest.approx(1, abs=0.2)


def test_items_show_the_main_latent_where_a_child_is_on() -> None:
    items = absorption.suppression_ratio(*absorbed(0.5)).items
    means = [items["main_activation"][items["has_child"] == with_child].mean() for with_child in (False, True)]
    assert means == pytest.approx([1, 0.5], abs=0.02)


def test_grid_of_thresholds_holds_the_score_and_falls_as_they_rise() -> None:
    items = absorption.full_rate(*absorbed(1.0)).items
    at = (items["grid_share"] == 0.4) & (items["grid_cosine"] == 0.025)
    assert items["grid_rate"][at] == pytest.approx(CHILD_SHARE, abs=0.01)
    rates = items["grid_rate"].reshape(len(absorption.SHARES), len(absorption.COSINES))
    assert (np.diff(rates, axis=0) <= 0).all()
    assert (np.diff(rates, axis=1) <= 0).all()


# More of it, worse scores


def test_suppression_rises_and_recall_falls_with_what_is_absorbed() -> None:
    suppression = [absorption.suppression_ratio(*absorbed(delta)).value for delta in DELTAS]
    recall = [first_letter.recall(*absorbed(delta)).value for delta in DELTAS]
    assert suppression == sorted(suppression)
    assert recall == sorted(recall, reverse=True)
    assert recall[-1] == pytest.approx(1 - CHILD_SHARE, abs=0.01)


def test_recall_falls_with_the_share_of_words_that_are_absorbed() -> None:
    """The first n of four children, each of two train words and three test words."""
    values, on = [], words.world(((2, 0, 3),) * 4)
    for n in range(5):
        some = replace(on, parent_of=tuple(parent if i % 4 < n else -1 for i, parent in enumerate(on.parent_of)))
        values.append(scored(first_letter.recall, on, absorbing_those(some)).value)
    assert values == pytest.approx([1 - 3 * n / words.WORDS[2] for n in range(5)], abs=0.02)


def absorbing_those(on: World) -> SimpleNamespace:
    """Full absorption by those children that have a parent."""
    sae = words.absorbing(replace(on, parent_of=()), 0.0)
    for child, parent in enumerate(on.parent_of):
        if parent >= 0:
            sae.W_enc[:, parent] -= on.directions[len(on.parents) + child]
            sae.W_dec[len(on.parents) + child] += on.directions[parent]
    return words.jump_sae(sae.W_enc, -on.mean @ sae.W_enc, sae.W_dec, on.mean, sae.threshold)


def test_precision_falls_with_planted_false_positives() -> None:
    """Main latents that read the first n unrelated features too, each on at three test words of every concept."""
    on = words.world()
    values = []
    for n in range(4):
        sae = words.absorbing(on, 0.0)
        sae.W_enc[:, on.parents] += on.directions[on.unrelated[:n]].sum(0)[:, None]
        noisy = words.jump_sae(sae.W_enc, -on.mean @ sae.W_enc, sae.W_dec, on.mean, sae.threshold)
        values.append(scored(first_letter.precision, on, noisy).value)
    assert values == pytest.approx([21 / (21 + 15 * n) for n in range(4)], abs=0.03)


def test_absorption_by_large_children_is_seen() -> None:
    """Not by the published rate: the child raises F1 so much that it counts as a part of the split, and is not silent."""
    on = words.world(((4, 2, 3), (4, 2, 3)))
    values = [scored(absorption.suppression_ratio, on, words.absorbing(on, delta)).value for delta in (0.5, 1.0)]
    assert values[0] < values[1]
    assert values[1] > 0.9
    assert scored(absorption.full_rate, on, words.absorbing(on, 1.0)).value < 0.1


# The same SAE in other words


@cache
def noisy() -> World:
    """With noise, so that scores are between the ends of their scales."""
    return words.world(noise=0.03, jitter=0.1)


@cache
def sae(delta: float = 1.0) -> SimpleNamespace:
    return words.absorbing(noisy(), delta)


@cache
def expected(delta: float = 1.0) -> dict[str, Outcome]:
    return words.outcomes(words.study_of(noisy(), sae(delta)))


def same(found: dict[str, Outcome], but: tuple[str, ...] = (), tolerance: float = 1e-5) -> None:
    for name, value in found.items():
        if name not in but:
            wanted = expected()[name]
            assert value == (wanted if isinstance(wanted, str) else pytest.approx(wanted, abs=tolerance)), name


def some(latents: list[int], factor: float) -> torch.Tensor:
    factors = torch.ones(len(sae().W_dec))
    factors[latents] = factor
    return factors


def test_there_is_something_to_move() -> None:
    assert not any(isinstance(value, str) for value in expected().values())
    assert 0.9 < expected()["suppression_ratio"][0] < 1  # type: ignore[operator]


@pytest.mark.parametrize("factor", [0.1, 10])
@pytest.mark.parametrize("which", ["parents", "children", "unrelated"])
def test_scale_of_one_latent_does_not_matter(factor: float, which: str) -> None:
    one = getattr(noisy(), which)[:1]
    same(words.outcomes(words.study_of(noisy(), words.rescaled(sae(), some(one, factor)))))


@pytest.mark.parametrize("factor", [0.1, 10])
def test_scale_of_all_latents_does_not_matter(factor: float) -> None:
    same(words.outcomes(words.study_of(noisy(), words.rescaled(sae(), torch.full((len(sae().W_dec),), factor)))))


def turned() -> torch.Tensor:
    return torch.arange(len(sae().W_dec)).flip(0)


@pytest.mark.parametrize("order", [turned, lambda: shuffled(len(sae().W_dec))], ids=["turned", "any"])
def test_order_of_latents_does_not_matter(order: Callable[[], torch.Tensor]) -> None:
    same(words.outcomes(words.study_of(noisy(), words.permuted(sae(), order()))), but=("k_sparse_f1",))


def test_order_of_latents_does_not_matter_to_k_sparse_probes() -> None:
    found = words.outcomes(words.study_of(noisy(), words.permuted(sae(), turned())))
    assert found["k_sparse_f1"][0] == pytest.approx(expected()["k_sparse_f1"][0])


def shuffled(n: int) -> torch.Tensor:
    return torch.randperm(n, generator=torch.Generator().manual_seed(3))


def test_dead_latents_do_not_matter_however_large_their_rows_are() -> None:
    same(words.outcomes(words.study_of(noisy(), words.with_dead(sae(), 64))))


@pytest.mark.parametrize("batch", [5, 5000])
def test_batch_size_does_not_matter(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saebench.evidence.words.study.BATCH", batch)
    same(words.outcomes(words.study_of(noisy(), sae())))


@pytest.mark.parametrize("refit", [False, True])
def test_basis_does_not_matter(refit: bool) -> None:
    turn = words.rotation(len(noisy().mean), 5)
    probe = replace(noisy().probe, direction=noisy().probe.direction @ turn)
    on = words.with_x(noisy(), noisy().readings.x @ turn, None if refit else probe)
    same(words.outcomes(words.study_of(on, words.rotated(sae(), turn))), tolerance=1e-4)


@pytest.mark.parametrize("factor", [0.01, 100])
def test_scale_of_activations_does_not_matter(factor: float) -> None:
    on = words.with_x(noisy(), noisy().readings.x * factor)
    same(words.outcomes(words.study_of(on, words.scaled(sae(), factor))), tolerance=1e-4)


def test_twins_of_unrelated_latents_do_not_matter() -> None:
    """But to the largest k-sparse probe, which has no use for its last latents and takes any."""
    found = words.outcomes(words.study_of(noisy(), words.duplicated(sae(), noisy().unrelated)))
    same(found, but=("k_sparse_f1",))


def test_twins_of_children_do_not_matter() -> None:
    """What both halves hold is above the published thresholds for one, in a world with little noise."""
    on, split = words.world(), words.duplicated(words.absorbing(words.world(), 1.0), words.world().children)
    found, whole = words.outcomes(words.study_of(on, split)), words.outcomes(absorbed(1.0)[0])
    for name in whole:
        assert found[name] == pytest.approx(whole[name], abs=1e-4), name


def test_twins_of_main_latents_count_as_absorbing_where_it_was_published_so() -> None:
    found = words.outcomes(words.study_of(noisy(), words.duplicated(sae(), noisy().parents)))
    moved = ("fraction_0_6_0", "fraction_0_3_2")
    same(found, but=(*moved, "k_sparse_f1", "recall_hole"))
    assert all(found[name][0] > expected()[name][0] + 0.2 for name in moved)  # type: ignore[operator]


def test_twins_of_main_latents_make_no_hole_smaller() -> None:
    hole = scored(absorption.recall_hole, noisy(), words.duplicated(sae(), noisy().parents)).value
    assert hole == pytest.approx(expected()["recall_hole"][0], abs=1e-4)


def test_order_of_latents_does_not_matter_to_the_control() -> None:
    changed = words.permuted(sae(), turned())
    values = [
        scored(absorption.suppression_ratio, noisy(), each).controls["non_hierarchical"] for each in (sae(), changed)
    ]
    assert values[0] == pytest.approx(values[1])


def turned_words() -> World:
    return words.reordered(noisy(), np.random.default_rng(1).permutation(len(noisy().readings.words)))


def test_order_of_words_moves_no_value_and_intervals_only_by_chance() -> None:
    found = words.outcomes(words.study_of(turned_words(), sae()))
    for name, value in found.items():
        if name != "k_sparse_f1":
            assert value[0] == pytest.approx(expected()[name][0], abs=1e-9), name
            assert value[1:3] == pytest.approx(expected()[name][1:3], abs=0.03), name


def test_order_of_words_does_not_matter_to_k_sparse_probes() -> None:
    found = words.outcomes(words.study_of(turned_words(), sae()))
    assert found["k_sparse_f1"][0] == pytest.approx(expected()["k_sparse_f1"][0], abs=1e-9)


# Where there is nothing that could be absorbed


@cache
def with_other_concepts(written: bool) -> World:
    """Concepts shuffled among the words; `written` into the activations, in dimensions that no latent reads."""
    on, rng = words.world(), np.random.default_rng(0)
    names = on.readings.concepts
    owner = rng.integers(len(names), size=len(on.readings.words))
    texts = np.array([word.text.strip() for word in on.readings.words])
    members = {name: frozenset(texts[owner == i].tolist()) for i, name in enumerate(names)}
    plan = replace(on.readings.plan, concepts=ConceptSet("shuffled", "{word} is of {concept}", members))
    extra = torch.from_numpy(np.eye(len(names), dtype=np.float32)[owner]) * (1.0 if written else 0.0)
    x = torch.cat([on.readings.x, extra[:, None].expand(-1, on.readings.x.shape[1], -1)], dim=2)
    readings = replace(on.readings, plan=plan, x=x)
    return replace(on, readings=readings, probe=words.probe_of(readings))


def blind(source: SimpleNamespace, dimensions: int) -> SimpleNamespace:
    """The same for activations with some dimensions more, which it neither reads nor writes."""

    def more(rows: torch.Tensor) -> torch.Tensor:
        return torch.cat([rows, torch.zeros(*rows.shape[:-1], dimensions)], dim=-1)

    return words.jump_sae(
        more(source.W_enc.T).T, source.b_enc, more(source.W_dec), more(source.b_dec), source.threshold
    )


def test_shuffled_concepts_leave_the_floor() -> None:
    on = with_other_concepts(True)
    study = words.study_of(on, blind(words.absorbing(words.world(), 1.0), 6))
    detectors = find_detectors(study)
    estimate = first_letter.f1(study, detectors)
    assert first_letter.probe_f1(study).value > 0.9
    assert estimate.value == pytest.approx(estimate.controls["shuffled"], abs=0.12)
    assert estimate.value <= estimate.floor + 0.12  # type: ignore[operator]
    assert estimate.value < 0.25
    for score in ABSORPTION:
        with pytest.raises(Unscored, match=r"concepts have a main latent with F1"):
            score(study, detectors)


def test_the_floor_is_low_for_an_sae_that_is_at_the_ceiling() -> None:
    estimate = first_letter.f1(*absorbed(0.0))
    assert estimate.value == pytest.approx(1)
    assert estimate.controls["shuffled"] < 0.3
    assert estimate.floor < 0.5  # type: ignore[operator]


def test_concepts_that_no_probe_reads_are_unscored() -> None:
    study = words.study_of(with_other_concepts(False), blind(words.absorbing(words.world(), 1.0), 6))
    detectors = find_detectors(study)
    for score in (*FIRST_LETTER, *ABSORPTION):
        with pytest.raises(Unscored, match=r"a probe reads [012] with"):
            score(study, detectors)


@pytest.mark.parametrize("split", Split)
def test_too_few_words_are_unscored(split: Split) -> None:
    counts = [4 if part == split else words.WORDS[part] for part in Split]
    on = words.world((), words=tuple(counts))
    with pytest.raises(Unscored, match=r"0 have 5 words of every split"):
        scored(first_letter.f1, on, words.absorbing(on, 0.0))


def test_concepts_without_a_test_word_are_left_out() -> None:
    on = words.world()
    first, tested = on.readings.member[:, 0], on.readings.split == Split.TEST
    fewer = words.reordered(on, np.flatnonzero(~(first & tested)))
    assert scored(absorption.suppression_ratio, fewer, words.absorbing(on, 1.0)).n == 5
    assert scored(first_letter.f1, fewer, words.absorbing(on, 1.0)).n == 5


def identity() -> SimpleNamespace:
    """Both signs of every dimension."""
    d = len(words.world().mean)
    return planted.fake(lambda x: torch.cat([x.relu(), (-x).relu()], dim=-1), lambda f: f[..., :d] - f[..., d:])


def centre() -> torch.Tensor:
    return words.world().readings.x.mean((0, 1))


GARBAGE = {
    "dead": lambda: planted.always(centre()),
    "dense": lambda: constant(words.world()),
    "random, L0 of 8": lambda: words.random_sae(words.world(), 512, 8),
    "random, L0 of 8, wide": lambda: words.random_sae(words.world(), 1024, 8),
    "decoder permuted": lambda: permuted_decoder(),
}
DENSE = {
    "random": lambda: words.random_sae(words.world(), 512),
    "random, wide": lambda: words.random_sae(words.world(), 1024),
    "identity": identity,
    "identity, signed": planted.identity,
}


def permuted_decoder() -> SimpleNamespace:
    source = words.absorbing(words.world(), 0.0)
    return words.jump_sae(
        source.W_enc, source.b_enc, source.W_dec[shuffled(len(source.W_dec))], source.b_dec, source.threshold
    )


def constant(on: World) -> SimpleNamespace:
    """Eight latents that are always on, and one per prefix, since something must be reconstructed."""
    prefixes = on.readings.x.shape[1]
    read = on.directions[-prefixes:]
    w_enc = torch.cat([torch.zeros(8, len(on.mean)), read]).T
    w_dec = torch.cat([words.rotation(len(on.mean), 1)[:8], read])
    b_enc = torch.cat([torch.ones(8), -read @ on.mean])
    b_dec = on.readings.x.mean((0, 1)) - w_dec[:8].sum(0) - read.mean(0)
    return words.jump_sae(w_enc, b_enc, w_dec, b_dec, torch.full((len(w_dec),), words.THRESHOLD))


@cache
def garbage(name: str) -> tuple[Study, Detectors]:
    study = words.study_of(words.world(), (GARBAGE | DENSE)[name]())
    return study, find_detectors(study)


@pytest.mark.parametrize("name", GARBAGE)
@pytest.mark.parametrize("score", ABSORPTION, ids=words.name_of)
def test_garbage_has_no_absorption(score: Score, name: str) -> None:
    with pytest.raises(Unscored, match=r"have a main latent with F1|predicting their mean is better"):
        score(*garbage(name))


@pytest.mark.parametrize("name", DENSE)
def test_latents_that_are_on_at_every_second_word_never_score_well(name: str) -> None:
    """In these few dimensions some axes of the identity are on at few words by chance; then they are much absorbed."""
    try:
        assert absorption.fraction_0_6_0(*garbage(name)).value > 0.5
        assert name == "identity"
    except Unscored:
        with pytest.raises(Unscored):
            absorption.full_rate(*garbage(name))


@pytest.mark.parametrize("name", ["dead", "dense", "random, L0 of 8", "random, L0 of 8, wide"])
def test_garbage_detects_nothing(name: str) -> None:
    """Saying yes to all words has an F1 of .29 here, which is then the floor."""
    estimate = first_letter.f1(*garbage(name))
    assert estimate.value < (0.3 if name == "dense" else 0.2)
    assert estimate.value <= estimate.floor + 0.15  # type: ignore[operator]
    assert first_letter.f1_gap(*garbage(name)).value > 0.7


def test_what_is_dead_is_not_split_and_detects_nothing() -> None:
    assert first_letter.split_f1(*garbage("dead")).value == 0
    assert first_letter.split_count(*garbage("dead")).value == 1


def test_nan_is_broken() -> None:
    with pytest.raises(Unscored, match="NaN") as caught:
        words.study_of(words.world(), planted.fake(lambda x: x * torch.nan, lambda latents: latents))
    assert caught.value.broken


def test_another_width_is_broken() -> None:
    with pytest.raises(Unscored, match="reads 5 dimensions") as caught:
        make_study(planted.loaded(planted.identity(), d_in=5), words.world().readings, words.world().probe)
    assert caught.value.broken


def test_main_latents_are_judged_where_nothing_could_absorb_them() -> None:
    """Two thirds of the validation words have a child; of two train words each, so that they are not the split."""
    on = words.world(((2, 4, 3), (2, 4, 3)))
    estimate = scored(absorption.suppression_ratio, on, words.absorbing(on, 1.0))
    assert estimate.value == pytest.approx(1, abs=0.02)
    assert estimate.n == 6


def test_only_words_that_the_probe_gets_right_count_in_the_published_rates() -> None:
    """At five test words of every concept there is nothing to be read, and nothing to be absorbed."""
    on, blank = words.world(), []
    free = (on.readings.split == Split.TEST) & ~on.on[:, on.children].any(1)
    for concept in on.parents:
        blank += np.flatnonzero(free & on.on[:, concept])[:5].tolist()
    x = on.readings.x.clone()
    x[blank] = centre()
    rate = scored(absorption.full_rate, words.with_x(on, x, on.probe), words.absorbing(on, 1.0)).value
    assert rate == pytest.approx(6 / (21 - 5), abs=0.01)


def test_one_latent_is_no_reason_to_fail() -> None:
    on = words.world()
    one = words.jump_sae(
        on.directions.T[:, :1], -on.mean @ on.directions.T[:, :1], on.directions[:1], centre(), torch.tensor([0.5])
    )
    study = words.study_of(on, one)
    detectors = find_detectors(study)
    for score in ABSORPTION:
        with pytest.raises(Unscored):
            score(study, detectors)


def test_always_on_is_no_detector_of_a_third_of_the_words() -> None:
    on = words.world(concepts=3)
    with pytest.raises(Unscored):
        scored(absorption.full_rate, on, constant(on))


def test_a_constant_that_the_decoder_takes_back_hides_no_absorption() -> None:
    on, source = words.world(), words.absorbing(words.world(), 1.0)
    lift = torch.zeros(len(source.W_dec))
    lift[on.parents] = 1.0
    lifted = planted.fake(lambda x: source.encode(x) + lift, lambda f: (f - lift) @ source.W_dec + source.b_dec)
    study = words.study_of(on, lifted)
    found = words.outcome(absorption.suppression_ratio, study, find_detectors(study))
    assert isinstance(found, str) or found[0] == pytest.approx(1, abs=0.05)


def test_a_leak_hides_no_child() -> None:
    on, source = words.world(), words.absorbing(words.world(), 1.0)
    leak = torch.zeros(len(source.W_dec))
    leak[on.children] = 1e-4
    leaky = planted.fake(lambda x: source.encode(x) + leak, lambda f: f @ source.W_dec + source.b_dec)
    assert scored(absorption.suppression_ratio, on, leaky).value == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("score", [absorption.full_rate, absorption.fraction_0_6_0], ids=words.name_of)
def test_probes_that_fail_at_all_test_words_leave_nothing_to_score(score: Score) -> None:
    on = words.world()
    x = on.readings.x.clone()
    x[torch.from_numpy(on.readings.split == Split.TEST)] = centre()
    with pytest.raises(Unscored):
        scored(score, words.with_x(on, x, on.probe), words.absorbing(on, 1.0))


def test_half_precision_is_scored() -> None:
    source = words.absorbing(words.world(), 1.0)
    half = SimpleNamespace(
        encode=lambda x: source.encode(x).bfloat16(), W_dec=source.W_dec.bfloat16(), b_dec=source.b_dec.bfloat16()
    )
    assert scored(absorption.suppression_ratio, words.world(), half).value == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    "prefixes",
    [10, 12],
)
def test_half_of_the_prefixes_are_half_of_them(prefixes: int) -> None:
    on = words.world(((2, 0, 3),), prefixes=prefixes, unrelated=2)
    w_enc, source = words.absorbing(on, 1.0).W_enc, words.absorbing(on, 1.0)
    w_enc[:, on.children] -= 5 * on.directions[-prefixes // 2 :].sum(0)[:, None]
    half = words.jump_sae(w_enc, -on.mean @ w_enc, source.W_dec, source.b_dec, source.threshold)
    study = words.study_of(on, half)
    assert [len(found.latents) for found in find_children(study, find_detectors(study))] == [1] * 6
