"""The suite's own scores of letters and absorption on samples whose features are known: they are held against the truth."""

from functools import cache

import numpy as np
import pytest
import told

from saebench.evidence.words.detectors import find_detectors
from saebench.evidence.words.probes import Probe
from saebench.evidence.words.readings import Readings, read_probe
from saebench.evidence.words.sampled import sampled_plan, sampled_readings
from saebench.evidence.words.study import Study, make_study
from saebench.making.told import Told
from saebench.metrics import absorption, first_letter
from saebench.record.score import Unscored
from saebench.saes.sae import LoadedSAE
from saebench.subject.toy import toy_subject


class Forgetting:
    """Keeps nothing."""

    def get(self, inputs, compute):
        return compute()


@cache
def read() -> tuple[Readings, Probe]:
    world, sample = told.drawn()
    readings = sampled_readings(world, sample, sampled_plan(world, told.SAMPLES))
    return readings, read_probe(toy_subject(world, "cpu"), readings, Forgetting())


def study(source: Told) -> Study:
    return make_study(LoadedSAE(told.SPEC, source, "digest", "cpu"), *read())


def test_concepts_are_parents_that_their_children_imply_and_words_are_samples() -> None:
    readings, _ = read()
    world, sample = told.drawn()
    parents = [int(name.removeprefix("feature ")) for name in readings.concepts]
    assert parents == list(range(0, 32, 2))  # of the first two blocks
    np.testing.assert_array_equal(readings.member, sample.features.toarray()[:, parents] != 0)
    assert readings.x.shape == (told.SAMPLES, 1, world.dimensions)


def test_a_probe_reads_every_parent_and_the_truth_is_not_absorbed() -> None:
    found = study(told.oracle())
    detectors = find_detectors(found)
    assert first_letter.probe_f1(found).value == pytest.approx(1.0, abs=1e-3)
    assert first_letter.f1(found, detectors).value == pytest.approx(1.0, abs=1e-3)
    assert absorption.suppression_ratio(found, detectors).value == pytest.approx(0.0, abs=0.03)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_the_suppression_ratio_is_the_planted_one(share: float) -> None:
    found = study(told.absorbing(share))
    estimate = absorption.suppression_ratio(found, find_detectors(found))
    assert estimate.value == pytest.approx(share, abs=0.06)


def test_a_world_without_parents_has_no_concepts() -> None:
    world, sample = told.drawn("flat")
    with pytest.raises(Unscored, match="the world flat has no parents with children"):
        sampled_readings(world, sample, sampled_plan(world, told.SAMPLES))
