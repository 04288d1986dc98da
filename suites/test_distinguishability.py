"""Can the model tell an SAE's features from made-up directions with similar properties? Heimersheim's game of five real and five made-up features, against the fakes of Lee & Heimersheim (arXiv 2410.12555) and stricter ones."""

import pytest

from saebench.metrics import dataset_shift, distinguishability

CHANCE = {"floor": 0.5, "ceiling": 1.0}


@pytest.mark.score("distinguishability.auc", 3, "higher", "AUC", headline=True, tolerance=0.05, **CHANCE)
def test_auc(lineup, record):
    record(distinguishability.auc(lineup))


@pytest.mark.score("distinguishability.accuracy", 3, "higher", "fraction", tolerance=0.05, **CHANCE)
def test_accuracy(lineup, record):
    record(distinguishability.accuracy(lineup))


@pytest.mark.score("distinguishability.angle", 2, "neither", "degree")
def test_angle(lineup, record):
    record(distinguishability.angle(lineup))


@pytest.mark.score("distinguishability.rung_auc", 3, "higher", "AUC", tolerance=0.05, **CHANCE)
@pytest.mark.parametrize("rung", [*distinguishability.LADDER, *distinguishability.ACTIVE])
def test_rung(lineup, record, rung):
    record(distinguishability.ladder_auc(lineup, rung))


@pytest.mark.score("distinguishability.control_auc", 2, "neither", "AUC", **CHANCE)
@pytest.mark.parametrize("control", distinguishability.CONTROLS)
def test_control(control_rungs, record, control):
    record(distinguishability.rung_auc(control_rungs, control))


@pytest.mark.score("distinguishability.sensitivity_log_ratio", 3, "higher", "ln", tolerance=0.05, floor=0.0)
def test_sensitivity_log_ratio(lineup, record):
    record(distinguishability.sensitivity_log_ratio(lineup))


@pytest.mark.score("distinguishability.noise_suppression_gap", 3, "higher", "convexity", tolerance=0.02, floor=0.0)
def test_noise_suppression_gap(lineup, record):
    record(distinguishability.noise_suppression_gap(lineup))


@pytest.mark.score("distinguishability.error_pathology_ratio", 2, "lower", "ratio", tolerance=0.2)
def test_error_pathology_ratio(lineup, record):
    record(distinguishability.error_pathology_ratio(lineup))


@pytest.mark.score("distinguishability.plateau_gap", 2, "lower", "fraction", tolerance=0.03, ceiling=0.0)
def test_plateau_gap(lineup, record):
    record(distinguishability.plateau_gap(lineup))


@pytest.mark.score("distinguishability.dataset_features", 2, "neither", "fraction")
def test_dataset_features(firings, record):
    record(dataset_shift.dataset_features(*firings))


@pytest.mark.score("distinguishability.dataset_auc", 2, "neither", "AUC", **CHANCE)
def test_dataset_auc(dataset_game, record):
    record(distinguishability.rung_auc({"dataset": dataset_game}, "dataset"))
