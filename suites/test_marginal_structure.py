"""Does an SAE find more than it would find in a random model, or with directions that were never learned? Heap et al. (arXiv 2501.17727) and Korznikov et al. (arXiv 2602.14111): on the usual metrics, hardly."""

import pytest

from saebench.metrics import marginal_structure

SHARE = {"floor": 0.0, "ceiling": 1.0, "tolerance": 0.05}


@pytest.mark.score("marginal_structure.fvu", 2, "higher", "share", **SHARE)
def test_fvu(trace, controls, record):
    record(marginal_structure.of_trace("fvu", trace, controls))


@pytest.mark.score("marginal_structure.cosine", 2, "higher", "share", **SHARE)
def test_cosine(trace, controls, record):
    record(marginal_structure.of_trace("cosine", trace, controls))


@pytest.mark.score("marginal_structure.kl", 2, "higher", "share", headline=True, **SHARE)
def test_kl(trace, controls, record):
    record(marginal_structure.of_trace("kl", trace, controls))


@pytest.mark.score("marginal_structure.ce_increase", 2, "higher", "share", **SHARE)
def test_ce_increase(trace, controls, record):
    record(marginal_structure.of_trace("ce_increase", trace, controls))


@pytest.mark.score("marginal_structure.recovered_zero", 2, "higher", "share", **SHARE)
def test_recovered_zero(trace, controls, record):
    record(marginal_structure.of_trace("recovered_zero", trace, controls))


@pytest.mark.score("marginal_structure.recovered_mean", 2, "higher", "share", **SHARE)
def test_recovered_mean(trace, controls, record):
    record(marginal_structure.of_trace("recovered_mean", trace, controls))


@pytest.mark.score("marginal_structure.kl_retention", 2, "higher", "share", **SHARE)
def test_kl_retention(trace, controls, record):
    record(marginal_structure.of_trace("kl_retention", trace, controls))


@pytest.mark.score("marginal_structure.fvu_retention", 2, "higher", "share", **(SHARE | {"tolerance": 0.25}))
def test_fvu_retention(trace, controls, record):
    record(marginal_structure.of_trace("fvu_retention", trace, controls))


@pytest.mark.score("marginal_structure.first_letter_f1", 2, "higher", "share", **SHARE)
def test_first_letter_f1(study, detectors, controls, record):
    record(marginal_structure.first_letter_f1(study, detectors, controls))


@pytest.mark.score("marginal_structure.k_sparse_f1", 2, "higher", "share", **SHARE)
def test_k_sparse_f1(study, detectors, controls, record):
    record(marginal_structure.k_sparse_f1(study, detectors, controls))


@pytest.mark.score("marginal_structure.token_entropy", 1, "higher", "AUC", tolerance=0.05, floor=0.5, ceiling=1.0)
def test_token_entropy(trace, controls, record):
    record(marginal_structure.token_entropy(trace, controls))
