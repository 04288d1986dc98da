"""How much of the activation, and of the model's behaviour, survives the SAE inside its training context? Definitions after SAEBench (arXiv 2503.09532), with pooled sums."""

import pytest

from saebench.metrics import firing, neighbours, per_token, reconstruction


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


@pytest.mark.score("reconstruction.kl_recovered", 1, "higher", "fraction", tolerance=0.005, floor=0.0, ceiling=1.0)
def test_divergence_recovered_from_zero_ablation(trace, record):
    record(reconstruction.kl_recovered(trace))


@pytest.mark.score("reconstruction.ce", 1, "neither", "nat")
def test_cross_entropy(trace, record):
    record(reconstruction.ce(trace))


@pytest.mark.score("reconstruction.explained_by_token", 1, "neither", "fraction", floor=0.0, ceiling=1.0)
def test_explained_by_token(rebuilt, record):
    record(per_token.explained_by_token(rebuilt))


@pytest.mark.score("reconstruction.mse", 1, "neither", "squared norm", ceiling=0.0)
def test_mse(rebuilt, record):
    record(per_token.mse(rebuilt))


@pytest.mark.score("reconstruction.token_cosine", 1, "neither", "cosine", ceiling=1.0)
def test_token_cosine(rebuilt, record):
    record(per_token.token_cosine(rebuilt))


@pytest.mark.score("reconstruction.l2_ratio", 1, "neither", "ratio")
def test_l2_ratio(rebuilt, record):
    record(per_token.l2_ratio(rebuilt))


@pytest.mark.score("reconstruction.relative_bias", 1, "neither", "ratio")
def test_relative_bias(rebuilt, record):
    record(per_token.relative_bias(rebuilt))


@pytest.mark.score("reconstruction.l1", 1, "neither", "norm")
def test_l1(rebuilt, written, record):
    record(firing.l1(rebuilt, written))


@pytest.mark.score("reconstruction.frequent", 1, "neither", "fraction")
def test_frequent_latents(rebuilt, record):
    record(firing.frequent_fraction(rebuilt))


@pytest.mark.score("reconstruction.share_of_frequent", 1, "neither", "fraction")
def test_share_of_frequent_latents(rebuilt, record):
    record(firing.share_of_frequent(rebuilt))


@pytest.mark.score("reconstruction.persistence", 1, "neither", "tokens")
def test_persistence(rebuilt, record):
    record(firing.persistence(rebuilt))


@pytest.mark.score("reconstruction.nearest_decoder", 1, "neither", "cosine")
def test_nearest_decoder(written, record):
    record(neighbours.nearest_decoder(written))


@pytest.mark.score("reconstruction.nearest_encoder", 1, "neither", "cosine")
def test_nearest_encoder(read, record):
    record(neighbours.nearest_encoder(read))
