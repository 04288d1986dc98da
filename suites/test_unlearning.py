"""Can a topic be unlearned through an SAE without harm? Latents that fire on the topic's texts are clamped below zero, and the model is asked about the topic and about all else (Farrell et al., arXiv 2410.19278; the way to clamp is chosen on validation questions)."""

import pytest

from saebench.metrics import unlearning


@pytest.mark.score("unlearning.forgotten", 1, "higher", "share", headline=True, tolerance=0.05, floor=0.0, ceiling=1.0)
def test_forgotten(unlearned, record):
    record(unlearning.forgotten(unlearned))


@pytest.mark.score("unlearning.owed_to_direction", 1, "higher", "share", tolerance=0.05, floor=0.0)
def test_owed_to_direction(unlearned, record):
    record(unlearning.owed_to_direction(unlearned))


@pytest.mark.score("unlearning.side_effect", 1, "neither", "share")
def test_side_effect(unlearned, record):
    record(unlearning.side_effect(unlearned))


@pytest.mark.score("unlearning.forgotten_at_any_cost", 1, "neither", "share")
def test_forgotten_at_any_cost(unlearned, record):
    record(unlearning.forgotten_at_any_cost(unlearned))
