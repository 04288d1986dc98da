"""Is an SAE's "starts with S" latent a reliable classifier? Chanin et al., "A is for Absorption" (arXiv 2409.14507)."""

import pytest

from saebench.metrics import editing, first_letter


@pytest.mark.score("first_letter.precision", 2, "higher", "fraction", tolerance=0.05, floor=0.0, ceiling=1.0)
def test_precision(study, detectors, record):
    record(first_letter.precision(study, detectors))


@pytest.mark.score("first_letter.recall", 2, "higher", "fraction", tolerance=0.05, floor=0.0, ceiling=1.0)
def test_recall(study, detectors, record):
    record(first_letter.recall(study, detectors))


@pytest.mark.score("first_letter.f1", 2, "higher", "F1", headline=True, tolerance=0.05, ceiling=1.0)
def test_f1(study, detectors, record):
    record(first_letter.f1(study, detectors))


@pytest.mark.score("first_letter.split_precision", 2, "higher", "fraction", tolerance=0.05, ceiling=1.0)
def test_split_precision(study, detectors, record):
    record(first_letter.split_precision(study, detectors))


@pytest.mark.score("first_letter.split_recall", 2, "higher", "fraction", tolerance=0.05, ceiling=1.0)
def test_split_recall(study, detectors, record):
    record(first_letter.split_recall(study, detectors))


@pytest.mark.score("first_letter.split_f1", 2, "higher", "F1", tolerance=0.05, ceiling=1.0)
def test_split_f1(study, detectors, record):
    record(first_letter.split_f1(study, detectors))


@pytest.mark.score("first_letter.k_sparse_f1", 2, "higher", "F1", tolerance=0.05, ceiling=1.0)
def test_k_sparse_f1(study, detectors, record):
    record(first_letter.k_sparse_f1(study, detectors))


@pytest.mark.score("first_letter.probe_f1", 2, "neither", "F1", ceiling=1.0)
def test_probe_f1(probed, record):
    record(first_letter.probe_f1(probed))


@pytest.mark.score("first_letter.f1_gap", 2, "lower", "F1", tolerance=0.05, ceiling=0.0)
def test_f1_gap(study, detectors, record):
    record(first_letter.f1_gap(study, detectors))


@pytest.mark.score("first_letter.split_count", 3, "neither", "latents")
def test_split_count(study, detectors, record):
    record(first_letter.split_count(study, detectors))


@pytest.mark.score("first_letter.ablation_share", 2, "higher", "fraction", tolerance=0.05, floor=0.0, ceiling=1.0)
def test_ablation_share(study, detectors, speller, record):
    record(editing.ablation_share(study, detectors, speller))
