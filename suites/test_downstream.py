"""What can the language model still do with the SAE spliced in, near the context that it was trained on and beyond it? Cloze tasks after LAMBADA (arXiv 1606.06031) and the Children's Book Test (arXiv 1511.02301), asked as by Anders and Bloom, "Examining Language Model Performance with Reconstructed Activations" (LessWrong, 2024)."""

import pytest

from saebench.metrics import downstream


@pytest.mark.score(
    "downstream.accuracy_kept", 1, "higher", "fraction", headline=True, tolerance=0.05, floor=0.0, ceiling=1.0
)
def test_accuracy_kept(answered, record):
    record(downstream.accuracy_kept(answered))


@pytest.mark.score(
    "downstream.accuracy_kept_by_length", 1, "higher", "fraction", tolerance=0.05, floor=0.0, ceiling=1.0
)
@pytest.mark.parametrize("passages", ["beyond", "far"])
def test_accuracy_kept_by_length(answered_beyond, passages, record):
    record(downstream.accuracy_kept_by_length(answered_beyond))


@pytest.mark.score("downstream.accuracy", 1, "higher", "fraction", tolerance=0.03)
def test_accuracy(answered, record):
    record(downstream.accuracy(answered))


@pytest.mark.score("downstream.log_p_kept", 1, "higher", "fraction", tolerance=0.03, floor=0.0, ceiling=1.0)
def test_log_p_kept(answered, record):
    record(downstream.log_p_kept(answered))


@pytest.mark.score("downstream.log_p_kept_by_length", 1, "higher", "fraction", tolerance=0.03, floor=0.0, ceiling=1.0)
@pytest.mark.parametrize("passages", ["beyond", "far"])
def test_log_p_kept_by_length(answered_beyond, passages, record):
    record(downstream.log_p_kept_by_length(answered_beyond))
