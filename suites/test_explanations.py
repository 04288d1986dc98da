"""Does an explanation of a latent predict where it fires, above the floor that any explanation reaches? Paulo et al. (arXiv 2410.13928), with the controls of Heap et al. (arXiv 2501.17727); a judge explains and judges."""

import pytest

from saebench.metrics import explanations

SHARE = {"floor": 0.5, "ceiling": 1.0, "tolerance": 0.05}


@pytest.mark.score("explanations.detection", 1, "higher", "accuracy", headline=True, **SHARE)
def test_detection(detected, record):
    record(explanations.detection(detected))


@pytest.mark.score("explanations.detection_auroc", 1, "higher", "AUROC", **SHARE)
def test_detection_auroc(detected, record):
    record(explanations.detection_auroc(detected))


@pytest.mark.score("explanations.fuzzing", 1, "neither", "accuracy", **SHARE)
def test_fuzzing(fuzzed, record):
    record(explanations.fuzzing(fuzzed))


@pytest.mark.score("explanations.sensitivity", 1, "higher", "share", **(SHARE | {"floor": 0.0}))
def test_sensitivity(likeness, record):
    record(explanations.sensitivity(likeness))
