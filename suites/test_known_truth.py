"""Does an SAE find the features of a world in which they are known? Toy worlds after SynthSAEBench (arXiv 2602.14687) and Chanin et al. (arXiv 2409.14507); asked only of SAEs of `toy`."""

import pytest

from saebench.metrics import known_structure, known_truth

FROM_0_TO_1 = {"floor": 0.0, "ceiling": 1.0}
ABSORBED = {"floor": 1.0, "ceiling": 0.0, "tolerance": 0.05}
CLASSIFIED = [("zero", "even"), ("zero", "frequency"), ("best", "even"), ("best", "frequency")]
PAIRS = ["hierarchical", "noisy", "mostly", "often", "independent"]
GROUPS = ["independent", "half", "mostly", "always", "rings"]


@pytest.mark.score("known_truth.mcc", 1, "higher", "cosine", headline=True, tolerance=0.02, **FROM_0_TO_1)
def test_mcc(known, record):
    record(known_truth.mcc(known))


@pytest.mark.score("known_truth.f1", 1, "higher", "F1", tolerance=0.02, ceiling=1.0)
@pytest.mark.parametrize(("threshold", "weight"), CLASSIFIED)
def test_f1(known, record, threshold, weight):
    record(known_truth.f1(known, threshold, weight))


@pytest.mark.score("known_truth.precision", 1, "higher", "fraction", tolerance=0.02, ceiling=1.0)
@pytest.mark.parametrize(("threshold", "weight"), CLASSIFIED[:2])
def test_precision(known, record, threshold, weight):
    record(known_truth.precision(known, threshold, weight))


@pytest.mark.score("known_truth.recall", 1, "higher", "fraction", tolerance=0.02, ceiling=1.0)
@pytest.mark.parametrize(("threshold", "weight"), CLASSIFIED[:2])
def test_recall(known, record, threshold, weight):
    record(known_truth.recall(known, threshold, weight))


@pytest.mark.score("known_truth.coverage", 1, "higher", "fraction", tolerance=0.02, **FROM_0_TO_1)
def test_coverage(known, record):
    record(known_truth.coverage(known))


@pytest.mark.score("known_truth.uniqueness", 1, "higher", "fraction", tolerance=0.02, floor=0.05, ceiling=1.0)
def test_uniqueness(known, record):
    record(known_truth.uniqueness(known))


@pytest.mark.score("known_truth.splitting", 1, "lower", "latents", tolerance=0.05, ceiling=1.0)
def test_splitting(known, record):
    record(known_truth.splitting(known))


@pytest.mark.score("known_truth.l0_error", 1, "neither", "ln", ceiling=0.0)
def test_l0_error(known, record):
    record(known_truth.l0_error(known))


@pytest.mark.score("known_truth.decoder_projection", 1, "neither", "share", ceiling=0.0)
def test_decoder_projection(known, record):
    record(known_truth.decoder_projection(known))


@pytest.mark.score("known_truth.absorption", 1, "lower", "fraction", **ABSORBED)
def test_absorption(known, record):
    record(known_structure.absorption(known, "magnitude"))


@pytest.mark.score("known_truth.absorption_of_firing", 1, "lower", "fraction", **ABSORBED)
def test_absorption_of_firing(known, record):
    record(known_structure.absorption(known, "firing"))


@pytest.mark.score("known_truth.absorption_of_pairs", 1, "lower", "fraction", **ABSORBED)
@pytest.mark.parametrize("pairs", PAIRS)
def test_absorption_of_pairs(known, record, pairs):
    record(known_structure.absorption(known, "magnitude", pairs))


@pytest.mark.score("known_truth.absorption_at_depth", 1, "lower", "fraction", **ABSORBED)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_absorption_at_depth(known, record, depth):
    record(known_structure.absorption(known, "magnitude", depth=depth))


@pytest.mark.score("known_truth.absorbed_direction", 1, "lower", "ratio", **ABSORBED)
def test_absorbed_direction(known, record):
    record(known_structure.absorbed_direction(known))


@pytest.mark.score("known_truth.hedging", 1, "lower", "ratio", **ABSORBED)
def test_hedging(known, record):
    record(known_structure.hedging(known))


@pytest.mark.score("known_truth.composition", 1, "lower", "fraction", **ABSORBED)
@pytest.mark.parametrize("groups", GROUPS)
def test_composition(known, record, groups):
    record(known_structure.composition(known, groups))


@pytest.mark.score("known_truth.atoms", 1, "higher", "cosine", tolerance=0.02, **FROM_0_TO_1)
@pytest.mark.parametrize("groups", GROUPS)
def test_atoms(known, record, groups):
    record(known_structure.atoms(known, groups))
