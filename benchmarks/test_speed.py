"""How long the parts of a run take: `make benchmarks`."""

import numpy as np
import pytest

from saebench.catalogue.registry import resolve
from saebench.evidence.trace import trace
from saebench.record.store import Store
from saebench.run.run import Run
from saebench.saes.loaders import load_sae
from saebench.stats.statistics import ratio_of_sums
from saebench.subject.cache import Cache


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return Run(resolve("organism/topk-16"), Store(tmp_path_factory.mktemp("scores") / "s.jsonl"))


@pytest.fixture(scope="module")
def activations(run):
    return run.documents.activations(run.holder.sae(run.specs[0]))


def test_load_an_sae(benchmark, run):
    benchmark(load_sae, run.specs[0])


def test_activations_of_the_quick_budget_without_cache(benchmark, run, tmp_path):
    from saebench.subject.activations import compute_activations

    subject, hook = run.models.subject(run.specs[0]), run.models.hook(run.specs[0])
    fresh = Cache(tmp_path, fresh=True)
    benchmark.pedantic(compute_activations, (subject, hook, run.models.corpus(run.specs[0]), fresh), rounds=1)


def test_trace_of_one_sae(benchmark, run, activations):
    sae = run.holder.sae(run.specs[0])
    benchmark.pedantic(trace, (sae, activations), rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("documents", [96, 384, 1536])
def test_interval(benchmark, documents):
    draws = np.random.default_rng(0)
    sums = draws.gamma(2.0, size=documents), draws.gamma(3.0, size=documents)
    benchmark(ratio_of_sums, *sums, purpose="benchmark")
