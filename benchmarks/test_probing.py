"""Sparse probing at real width: 113 sets of 300 texts, 576 dimensions and 16,384 latents with random weights.

`pytest benchmarks/test_probing.py -s` prints the peak memory of the process beside seconds.
"""

import resource

import numpy as np
import pytest
import torch
from torch import Tensor

from saebench.catalogue.spec import SAESpec
from saebench.evidence.labels.labelled import labelled
from saebench.evidence.labels.perturbing import perturbed
from saebench.evidence.labels.readings import Plan, Readings
from saebench.metrics import probe_perturbation, sparse_probing
from saebench.organism.labelled import LabelledSet
from saebench.saes.sae import LoadedSAE

SETS, TEXTS, D, LATENTS, ACTIVE = 113, 300, 576, 16_384, 32


class TopK:
    """Random directions, of which the largest stay."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.W_dec = torch.nn.functional.normalize(torch.randn(LATENTS, D, generator=generator), dim=-1)

    def encode(self, x: Tensor) -> Tensor:
        values, at = torch.topk(x @ self.W_dec.T, ACTIVE)
        return torch.zeros(len(x), LATENTS).scatter_(-1, at, values)

    def decode(self, latents: Tensor) -> Tensor:
        return latents @ self.W_dec


def loaded(seed: int) -> LoadedSAE:
    name = f"random-{seed}"
    return LoadedSAE(SAESpec(name=name, loader="object", location=name, d_sae=LATENTS), TopK(seed), name, "cpu")


@pytest.fixture(scope="module")
def readings() -> Readings:
    rng = np.random.default_rng(0)
    sets = tuple(LabelledSet(f"s: {i}", tuple("x" * TEXTS), (True, False) * (TEXTS // 2)) for i in range(SETS))
    x = rng.normal(size=(SETS, TEXTS, D)).astype(np.float32)
    x += rng.normal(size=(SETS, 1, D)) + 0.3 * rng.normal(size=(SETS, 1, D)) * (np.arange(TEXTS) % 2 == 0)[:, None]
    groups = tuple(tuple(f"s: {i}" for i in range(first, first + 3)) for first in range(0, 51, 3))
    plan = Plan("random", sets, "last", groups=groups)
    return Readings(plan, torch.from_numpy(x.reshape(-1, D)).float(), np.arange(SETS * TEXTS))


@pytest.fixture(scope="module")
def own(readings):
    return labelled(loaded(0), readings, loaded(1))


def told(benchmark):
    """Gigabytes of the process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    benchmark.extra_info["peak_gigabytes"] = round(peak, 2)
    print(f"{benchmark.name}: {peak:.2f} GB at most")


def test_encode_all_texts_of_an_sae_and_of_random_directions(benchmark, readings):
    benchmark.pedantic(labelled, (loaded(0), readings, loaded(1)), rounds=1)
    told(benchmark)


@pytest.mark.parametrize("k", [1, 2, 5, 16])
def test_probes_on_few_latents_with_their_floors(benchmark, own, k):
    sparse_probing.dense_auc(own)  # once for all SAEs
    benchmark.pedantic(sparse_probing.auc, (own, k), rounds=1)
    told(benchmark)


def test_probes_on_the_activation_once_for_all_saes(benchmark, own):
    own.readings.memory.clear()
    benchmark.pedantic(sparse_probing.dense_auc, (own,), rounds=1)
    told(benchmark)


def test_probes_on_all_latents_with_their_floor(benchmark, own):
    benchmark.pedantic(sparse_probing.auc_all, (own,), rounds=1)
    told(benchmark)


def test_latents_taken_away_from_51_probes(benchmark, own):
    found = perturbed(loaded(0), own)
    benchmark.pedantic(probe_perturbation.tpp, (found, 20), rounds=1)
    told(benchmark)
