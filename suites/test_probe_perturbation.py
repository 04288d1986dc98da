"""Do the latents of a class carry what is read of it, and of nothing else? Targeted probe perturbation, after SAEBench (arXiv 2503.09532) and Marks et al. (arXiv 2403.19647), with spurious correlation removal, which an audit advises against (arXiv 2605.18229)."""

import pytest

from saebench.metrics import probe_perturbation, spurious_correlation

LATENTS = [2, 5, 10, 20, 50, 100]
PUT = [("mean", "mean"), ("mean", "last"), ("zero", "mean")]
WAYS = [(n, put, pooling) for put, pooling in PUT for n in LATENTS]


@pytest.mark.score("probe_perturbation.tpp", 1, "neither", "accuracy", ceiling=1.0)
@pytest.mark.parametrize("n", LATENTS)
def test_tpp(perturbed, record, n):
    record(probe_perturbation.tpp(perturbed, n))


@pytest.mark.score("probe_perturbation.tpp_of_l0", 1, "neither", "accuracy", headline=True, ceiling=1.0)
@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_tpp_of_l0(perturbed, record, pooling):
    record(probe_perturbation.tpp(perturbed, None))


@pytest.mark.score("probe_perturbation.tpp_redrawn", 1, "neither", "accuracy", ceiling=1.0)
@pytest.mark.parametrize("n", LATENTS)
def test_tpp_redrawn(perturbed, record, n):
    record(probe_perturbation.tpp(perturbed, n, "redrawn"))


@pytest.mark.score("probe_perturbation.scr", 1, "neither", "share", floor=0.0, ceiling=1.0)
@pytest.mark.parametrize(("n", "put", "pooling"), WAYS)
def test_scr(perturbed, record, n, put, pooling):
    record(spurious_correlation.scr(perturbed, n, put))


@pytest.mark.score("probe_perturbation.scr_of_l0", 1, "neither", "share", floor=0.0, ceiling=1.0)
@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_scr_of_l0(perturbed, record, pooling):
    record(spurious_correlation.scr(perturbed, None))
