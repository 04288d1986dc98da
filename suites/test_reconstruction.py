"""How much of the activation, and of the model's behaviour, survives the SAE inside its training context? Definitions after SAEBench (arXiv 2503.09532), with pooled sums."""

import pytest

from saebench.metrics import reconstruction


@pytest.mark.score("reconstruction.fvu", 1, "lower", "fraction", tolerance=0.01, floor=1.0, ceiling=0.0)
def test_fvu(rebuilt, record):
    record(reconstruction.fvu(rebuilt))


@pytest.mark.score("reconstruction.l0", 1, "neither", "latents")
def test_l0(rebuilt, record):
    record(reconstruction.l0(rebuilt))


@pytest.mark.score("reconstruction.cosine", 1, "higher", "cosine", tolerance=0.01, floor=0.0, ceiling=1.0)
def test_cosine(rebuilt, record):
    record(reconstruction.cosine(rebuilt))


@pytest.mark.score("reconstruction.shrinkage", 1, "lower", "fraction", tolerance=0.01, floor=1.0, ceiling=0.0)
def test_shrinkage(rebuilt, record):
    record(reconstruction.shrinkage(rebuilt))


@pytest.mark.score("reconstruction.dead", 1, "lower", "fraction", tolerance=0.02, floor=1.0, ceiling=0.0)
def test_dead_latents(rebuilt, record):
    record(reconstruction.dead_fraction(rebuilt))


@pytest.mark.score("reconstruction.dense", 2, "neither", "fraction", floor=1.0, ceiling=0.0)
def test_dense_latents(rebuilt, record):
    record(reconstruction.dense_fraction(rebuilt))


@pytest.mark.score("reconstruction.kl", 1, "lower", "nat", tolerance=0.01, ceiling=0.0)
def test_kl(trace, record):
    record(reconstruction.kl(trace))


@pytest.mark.score("reconstruction.ce_increase", 1, "lower", "nat", tolerance=0.01, ceiling=0.0)
def test_ce_increase(trace, record):
    record(reconstruction.ce_increase(trace))


@pytest.mark.score(
    "reconstruction.recovered_zero", 1, "higher", "fraction", headline=True, tolerance=0.005, floor=0.0, ceiling=1.0
)
def test_loss_recovered_from_zero_ablation(trace, record):
    record(reconstruction.loss_recovered(trace, "zero"))


@pytest.mark.score("reconstruction.recovered_mean", 1, "higher", "fraction", tolerance=0.005, floor=0.0, ceiling=1.0)
def test_loss_recovered_from_mean_ablation(trace, record):
    record(reconstruction.loss_recovered(trace, "mean"))
