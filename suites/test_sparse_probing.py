"""What can be read off a few latents, and is it what the model itself knows? Probes on labelled texts, after "Are Sparse Autoencoders Useful?" (Kantamneni et al. 2025, arXiv 2502.16681) and SAEBench (arXiv 2503.09532)."""

import pytest

from saebench.metrics import probing_settings, sparse_probing

KS = [1, 2, 5, 16]
POOLINGS = ["last", "mean"]
WAYS = [(k, pooling, "deviation") for k in KS for pooling in POOLINGS] + [(k, "last", "published") for k in (1, 16)]


@pytest.mark.score("sparse_probing.auc", 1, "higher", "AUC", tolerance=0.01, ceiling=1.0)
@pytest.mark.parametrize(("k", "pooling", "selection"), WAYS)
def test_auc(labelled, record, k, pooling, selection):
    record(sparse_probing.auc(labelled, k, selection))


@pytest.mark.score("sparse_probing.f1", 1, "higher", "F1", tolerance=0.01, ceiling=1.0)
@pytest.mark.parametrize("k", KS)
def test_f1(labelled, record, k):
    record(sparse_probing.weighted_f1(labelled, k))


@pytest.mark.score("sparse_probing.auc_all", 1, "higher", "AUC", headline=True, tolerance=0.01, ceiling=1.0)
def test_auc_all(labelled, record):
    record(sparse_probing.auc_all(labelled))


@pytest.mark.score("sparse_probing.dense_auc", 1, "neither", "AUC", floor=0.5, ceiling=1.0)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_dense_auc(labelled, record, pooling):
    record(sparse_probing.dense_auc(labelled))


@pytest.mark.score("sparse_probing.gap", 1, "lower", "AUC", tolerance=0.01, ceiling=0.0)
def test_gap(labelled, record):
    record(sparse_probing.gap(labelled))


@pytest.mark.score("sparse_probing.transfer", 1, "higher", "AUC", tolerance=0.02, floor=0.5, ceiling=1.0)
def test_transfer(labelled, record):
    record(sparse_probing.transfer(labelled))


@pytest.mark.score("sparse_probing.scarcity", 1, "higher", "AUC", tolerance=0.02, ceiling=1.0)
@pytest.mark.parametrize("examples", [2, 8, 32, 128, 512])
def test_scarcity(labelled, record, examples):
    record(probing_settings.scarcity(labelled, examples))


@pytest.mark.score("sparse_probing.imbalance", 1, "higher", "AUC", tolerance=0.02, ceiling=1.0)
@pytest.mark.parametrize("share", probing_settings.SHARES)
def test_imbalance(labelled, record, share):
    record(probing_settings.imbalance(labelled, share))
