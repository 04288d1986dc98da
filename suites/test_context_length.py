"""Does the SAE still work at positions beyond the context it was trained on? After Anders and Bloom, "Examining Language Model Performance with Reconstructed Activations" (LessWrong, 2024)."""

import pytest

from saebench.metrics import context_length


@pytest.mark.score("context_length.kl_inside", 1, "lower", "nat", tolerance=0.01, ceiling=0.0)
def test_kl_inside(trace, record):
    record(context_length.kl_inside(trace))


@pytest.mark.score("context_length.kl_beyond", 1, "lower", "nat", headline=True, tolerance=0.02, ceiling=0.0)
def test_kl_beyond(trace, record):
    record(context_length.kl_beyond(trace))


@pytest.mark.score("context_length.kl_retention", 2, "neither", "ratio", floor=0.0, ceiling=1.0)
def test_kl_retention(trace, record):
    record(context_length.kl_retention(trace))


@pytest.mark.score("context_length.fvu_retention", 2, "neither", "ratio", floor=0.0, ceiling=1.0)
def test_fvu_retention(rebuilt, record):
    record(context_length.fvu_retention(rebuilt))


@pytest.mark.score("context_length.break_point", 2, "neither", "position")
def test_break_point(trace, record):
    record(context_length.break_point(trace))
