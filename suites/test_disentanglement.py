"""Can one attribute of an entity be changed through an SAE's latents while all others stay? RAVEL (Huang et al. 2024, arXiv 2402.17700), of entities that no latent was chosen on."""

import pytest

from saebench.metrics import disentanglement

PATCHED = [
    ("gradient", "dropped"), ("gradient", "kept"), ("probe", "dropped"), ("probe", "kept"), ("mask", "dropped"), ("mask", "kept"),
]  # fmt: skip


@pytest.mark.score("disentanglement.score", 1, "higher", "fraction", headline=True, tolerance=0.03)
@pytest.mark.parametrize(("chosen", "error"), PATCHED)
def test_score(disentangled, record, chosen, error):
    record(disentanglement.score(disentangled, error))


@pytest.mark.score("disentanglement.cause", 1, "neither", "fraction")
@pytest.mark.parametrize(("chosen", "error"), PATCHED)
def test_cause(disentangled, record, chosen, error):
    record(disentanglement.cause(disentangled, error))


@pytest.mark.score("disentanglement.isolation", 1, "neither", "fraction")
@pytest.mark.parametrize(("chosen", "error"), PATCHED)
def test_isolation(disentangled, record, chosen, error):
    record(disentanglement.isolation(disentangled, error))
