"""Do other latents fire in place of the one that detects a concept? Chanin et al., "A is for Absorption" (arXiv 2409.14507); full rate and fractions as of SAEBench (arXiv 2503.09532), by its version."""

import pytest

from saebench.metrics import absorption, editing

SHARE = {"floor": 1.0, "ceiling": 0.0, "tolerance": 0.05}


@pytest.mark.parametrize("concepts", ["letters", "taxonomy", "attributes"])
@pytest.mark.score("absorption.suppression_ratio", 2, "lower", "ratio", **SHARE)
def test_suppression_ratio(study, detectors, concepts, record):
    record(absorption.suppression_ratio(study, detectors))


@pytest.mark.score("absorption.full_rate_0_6_0", 2, "lower", "fraction", headline=True, **SHARE)
def test_full_rate(study, detectors, record):
    record(absorption.full_rate(study, detectors))


@pytest.mark.score("absorption.fraction_0_6_0", 2, "lower", "fraction", **SHARE)
def test_fraction(study, detectors, record):
    record(absorption.fraction_0_6_0(study, detectors))


@pytest.mark.score("absorption.fraction_0_3_2", 2, "lower", "fraction", **SHARE)
def test_fraction_as_published(study, detectors, record):
    record(absorption.fraction_0_3_2(study, detectors))


@pytest.mark.score("absorption.causal_rate", 2, "lower", "fraction", **SHARE)
def test_causal_rate(study, detectors, speller, record):
    record(editing.causal_rate(study, detectors, speller))


@pytest.mark.score("absorption.recall_hole", 2, "lower", "fraction", **SHARE)
def test_recall_hole(study, detectors, record):
    record(absorption.recall_hole(study, detectors))
