"""Scores against known features: the truth is at the ceiling, random directions at the floor, and a planted dose is read back."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import told
import torch
from sklearn.metrics import f1_score, precision_score, recall_score
from torch import Tensor

from saebench.evidence.known import Known
from saebench.making.told import Told
from saebench.metrics import known_structure as structure
from saebench.metrics import known_truth as metric
from saebench.record.score import Estimate, Unscored
from saebench.saes.directions import random_directions

SCORES: dict[str, Callable[[Known], Estimate]] = {
    "mcc": metric.mcc,
    "f1": lambda k: metric.f1(k, "zero", "even"),
    "f1 above the best threshold": lambda k: metric.f1(k, "best", "even"),
    "f1 by frequency": lambda k: metric.f1(k, "zero", "frequency"),
    "precision": lambda k: metric.precision(k, "zero", "even"),
    "recall": lambda k: metric.recall(k, "zero", "even"),
    "coverage": metric.coverage,
    "uniqueness": metric.uniqueness,
    "splitting": metric.splitting,
    "l0_error": metric.l0_error,
    "decoder_projection": metric.decoder_projection,
    "absorption": lambda k: structure.absorption(k, "magnitude"),
    "absorption of firing": lambda k: structure.absorption(k, "firing"),
    "absorbed_direction": structure.absorbed_direction,
    "hedging": structure.hedging,
}
LOWEST = {"l0_error", "decoder_projection", "absorption", "absorption of firing", "absorbed_direction", "hedging"}
"""Scores of which the truth has 0; of the others it has 1."""


@pytest.mark.parametrize("name", SCORES)
def test_the_truth_is_at_the_ceiling(name: str) -> None:
    estimate = SCORES[name](told.read(told.oracle()))
    assert estimate.value == pytest.approx(0.0 if name in LOWEST else 1.0, abs=1e-3 if "best" in name else 1e-5)
    assert estimate.ci_low <= estimate.value + 1e-9
    assert estimate.value - 1e-9 <= estimate.ci_high


@pytest.mark.parametrize("name", SCORES)
def test_random_directions_are_at_the_floor(name: str) -> None:
    x = told.drawn()[1].x
    source = random_directions(x, 120, 0.1, "a test").fitted(x)
    if name in LOWEST - {"l0_error", "decoder_projection"} | {"splitting"}:
        with pytest.raises(Unscored, match="have a latent"):
            SCORES[name](told.read(source))
        return
    estimate = SCORES[name](told.read(source))
    if name == "decoder_projection":
        assert estimate.value > 0.05
        return
    floor = {"mcc": 0.0, "coverage": 0.0, "uniqueness": 0.05, "l0_error": 0.0}.get(name, estimate.floor)
    assert estimate.value == pytest.approx(floor, abs=0.08)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.5, 0.75, 1.0])
def test_absorption_is_read_back_as_it_was_planted(share: float) -> None:
    known = told.read(told.absorbing(share))
    for block in ("hierarchical", "noisy", "mostly", "independent"):
        found = structure.absorption(known, "magnitude", block).value
        assert found == pytest.approx(share, abs=0.07 if block == "noisy" else 0.02), block
    assert structure.absorbed_direction(known).value == pytest.approx(share, abs=0.02)
    assert structure.absorption(known, "firing", "hierarchical").value == pytest.approx(float(share == 1.0), abs=0.02)
    # What the parent's latent leaves out is not a mixture.
    assert structure.hedging(known).value == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5])
def test_hedging_is_read_back_as_it_was_planted(share: float) -> None:
    source, known = told.oracle(), told.read(told.oracle())
    child = np.flatnonzero(known.truth.parent >= 0)
    directions = source.directions.clone()
    directions[known.truth.parent[child]] += share * source.directions[child]
    found = told.read(replace(source, directions=directions))
    assert structure.hedging(found).value == pytest.approx(share, abs=0.02)
    assert structure.absorbed_direction(found).value == pytest.approx(0.0, abs=0.02)


def test_absorption_is_of_all_pairs_in_which_the_child_implies_the_parent() -> None:
    known = told.read(told.absorbing(0.5))
    pairs = structure.absorption(known, "magnitude")
    assert pairs.n == 16
    assert pairs.value == pytest.approx(0.5, abs=0.03)
    assert structure.absorption(known, "magnitude", depth=1).value == pytest.approx(pairs.value)
    with pytest.raises(Unscored, match="no parents with children"):
        structure.absorption(known, "magnitude", depth=2)


def test_firing_scores_are_those_of_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    source = told.oracle()
    noise = torch.rand(source.features.shape, generator=generator)
    features = torch.where(noise < 0.1, 0.0, source.features) + torch.where(noise > 0.97, 0.3, 0.0)
    known = told.read(replace(source, features=features))
    said, is_on = (known.sae.own != 0).toarray(), (known.features != 0).toarray()
    for name, score in (("f1", f1_score), ("precision", precision_score), ("recall", recall_score)):
        each = score(is_on, said, average=None)
        found: Estimate = getattr(metric, name)(known, "zero", "even")
        assert found.value == pytest.approx(each.mean())
        weighted = np.average(each, weights=is_on.sum(axis=0))
        assert getattr(metric, name)(known, "zero", "frequency").value == pytest.approx(weighted)


def test_the_best_threshold_is_chosen_on_other_samples_than_it_is_measured_on() -> None:
    generator = torch.Generator().manual_seed(1)
    source = told.oracle()
    leaking = torch.where(torch.rand(source.features.shape, generator=generator) < 0.3, 0.2, 0.0)
    known = told.read(replace(source, features=torch.maximum(source.features, leaking)))
    assert metric.f1(known, "zero", "even").value < 0.7
    assert metric.f1(known, "best", "even").value == pytest.approx(1.0, abs=0.01)
    own, is_on = known.sae.own.toarray(), (known.features != 0).toarray()
    thresholds = metric._best_thresholds(known.sae.own[::2], known.on[::2])
    for feature in range(0, own.shape[1], 17):
        steps = np.unique(own[::2, feature][own[::2, feature] > 0])
        by_hand = max(f1_score(is_on[::2, feature], own[::2, feature] >= step) for step in steps)
        chosen = f1_score(is_on[::2, feature], own[::2, feature] >= thresholds[feature])
        assert chosen == pytest.approx(by_hand)


def test_matching_is_that_of_sae_lens() -> None:
    from sae_lens.synthetic import mean_correlation_coefficient

    source = told.oracle()
    shift = torch.randn(source.directions.shape, generator=torch.Generator().manual_seed(2))
    known = told.read(replace(source, directions=source.directions + 0.15 * shift))
    expected = mean_correlation_coefficient(known.sae.directions, known.truth.directions)
    assert known.sae.cosine.mean() == pytest.approx(float(expected), abs=1e-4)


def test_fewer_latents_than_features_find_that_many() -> None:
    source = told.oracle()
    half = told.read(told.mixed(source, torch.eye(80)[:, ::2]))
    assert metric.coverage(half).value == pytest.approx(0.5)
    assert 0.4 < metric.mcc(half).value < 0.5  # of 80 features, 40 have no latent, of random directions as well
    assert metric.uniqueness(half).value == 1.0


def test_two_latents_of_each_feature_are_counted_as_split() -> None:
    twice = told.read(told.mixed(told.oracle(), torch.cat([torch.eye(80), torch.eye(80)], dim=1)))
    assert metric.splitting(twice).value == pytest.approx(2.0)
    assert metric.uniqueness(twice).value == 0.0
    assert metric.l0_error(twice).value == pytest.approx(np.log(2), abs=1e-6)
    assert metric.mcc(twice).value == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("groups", ["independent", "half", "mostly", "always", "rings"])
def test_sums_of_two_atoms_are_told_from_atoms(groups: str) -> None:
    known = told.read(told.oracle("composed"), "composed")
    assert structure.composition(known, groups).value == 0.0
    assert structure.atoms(known, groups).value == pytest.approx(1.0, abs=1e-5)
    chosen = np.flatnonzero(known.block(groups))
    change = torch.zeros(40, 16)
    for number, (one, other) in enumerate((a, b) for a in chosen[:4] for b in chosen[4:]):
        change[one, number] = change[other, number] = 1.0
    source = told.oracle("composed")
    pairs = Told(change.T @ source.directions, source.features @ change, source.keys, source.probe)
    composed = told.read(pairs, "composed")
    assert structure.composition(composed, groups).value == 1.0
    assert structure.atoms(composed, groups).value < 0.8


def test_mixed_directions_lie_along_more_of_the_activations() -> None:
    source, found = told.oracle(), []
    for share in (0.0, 0.2, 0.4):
        mixed = source.directions + share * source.directions.roll(2, dims=0)
        found.append(metric.decoder_projection(told.read(replace(source, directions=mixed))).value)
    assert found == sorted(found)
    assert found[0] == pytest.approx(0.0, abs=1e-4)


def test_composition_is_asked_of_worlds_with_atoms() -> None:
    with pytest.raises(Unscored, match="the world absorption has no such features"):
        structure.composition(told.read(told.oracle()), "rings")
    with pytest.raises(Unscored, match="the world absorption has no such features"):
        structure.atoms(told.read(told.oracle()), "independent")


def _scaled(source: Told) -> Told:
    gain = torch.linspace(0.01, 50, source.features.shape[1])
    return replace(source, features=source.features * gain, directions=source.directions / gain[:, None])


def _negated(source: Told) -> Told:
    sign = torch.where(torch.arange(source.features.shape[1]) % 2 == 0, 1.0, -1.0)
    return replace(source, features=source.features * sign, directions=source.directions * sign[:, None])


def _permuted(source: Told) -> Told:
    return told.mixed(source, torch.eye(80)[:, torch.randperm(80, generator=torch.Generator().manual_seed(3))])


def _with_dead(source: Told) -> Told:
    dead = torch.randn(40, source.directions.shape[1], generator=torch.Generator().manual_seed(4))
    features = torch.nn.functional.pad(source.features, (0, 40))
    return replace(source, features=features, directions=torch.cat([source.directions, dead]))


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("change", [_scaled, _negated, _permuted, _with_dead])
def test_nothing_depends_on_how_the_same_latents_are_written(name: str, change: Callable[[Told], Told]) -> None:
    source = told.absorbing(0.4)
    expected, found = (SCORES[name](told.read(each)) for each in (source, change(source)))
    assert found.value == pytest.approx(expected.value, abs=1e-4)
    assert found.ci_high == pytest.approx(expected.ci_high, abs=1e-3)


class Constant:
    """Latents that are what they are, whatever is read."""

    def __init__(self, value: float) -> None:
        self.value = value

    def encode(self, x: Tensor) -> Tensor:
        return torch.full((len(x), 100), self.value)

    def decode(self, latents: Tensor) -> Tensor:
        return torch.zeros(len(latents), 96)


class Identity:
    def encode(self, x: Tensor) -> Tensor:
        return x

    def decode(self, latents: Tensor) -> Tensor:
        return latents


def test_an_sae_without_live_latents_has_no_score() -> None:
    with pytest.raises(Unscored, match="no latent is ever active"):
        told.read(Constant(0.0))


def test_nan_is_broken() -> None:
    with pytest.raises(Unscored, match="NaN") as found:
        told.read(Constant(float("nan")))
    assert found.value.broken


class Shuffled(Identity):
    """Finds what is there, and writes something else."""

    def encode(self, x: Tensor) -> Tensor:
        return told.oracle().encode(x)

    def decode(self, latents: Tensor) -> Tensor:
        return latents.roll(3, dims=1) @ told.oracle().directions


@pytest.mark.parametrize("source", [Constant(1.0), Shuffled()], ids=["constant", "shuffled decoder"])
def test_directions_that_latents_do_not_stand_for_are_not_looked_at(source: Any) -> None:
    with pytest.raises(Unscored, match="the SAE has an FVU of"):
        told.read(source)


def test_what_is_always_on_never_scores_well() -> None:
    known = told.read(Identity())
    assert metric.mcc(known).value < 0.25
    assert metric.coverage(known).value < 0.05
    estimate = metric.f1(known, "zero", "even")
    assert estimate.value < 0.35
    with pytest.raises(Unscored):
        structure.absorption(known, "magnitude")


def test_an_sae_of_another_width_is_refused() -> None:
    from saebench.evidence.known import known
    from saebench.saes.sae import LoadedSAE

    made, samples = told.drawn()
    with pytest.raises(Unscored, match="reads 7 dimensions, absorption has 96"):
        known(LoadedSAE(replace(told.SPEC, d_in=7), Identity(), "digest", "cpu"), made, samples)
