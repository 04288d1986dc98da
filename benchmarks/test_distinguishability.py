"""How long the game of real and made-up features takes: `make benchmarks`."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch

from saebench.catalogue.registry import resolve
from saebench.evidence.game.perturb import Perturber
from saebench.evidence.game.responses import turned
from saebench.evidence.game.rungs import ANGLES
from saebench.metrics import distinguishability as metric
from saebench.record.score import Unscored
from saebench.record.store import Store
from saebench.run.options import Options
from saebench.run.run import Run

SCORES = (
    metric.auc, metric.accuracy, metric.angle, metric.sensitivity_log_ratio, metric.noise_suppression_gap,
    metric.error_pathology_ratio, metric.plateau_gap,
)  # fmt: skip


def new_run(folder: Path, budget: str) -> Run:
    return Run(resolve("organism/topk-16"), Store(folder / "s.jsonl"), Options(budget))


def scored(score, *arguments):
    try:
        return score(*arguments)
    except Unscored:
        return None


def suite(run: Run) -> None:
    """Everything that `suites/test_distinguishability.py` scores of one SAE."""
    lineup = run.game.lineup(run.holder.sae(run.specs[0]))
    for score in SCORES:
        scored(score, lineup)
    for rungs in (lineup.rungs, lineup.controls):
        for name in rungs:
            scored(metric.rung_auc, rungs, name)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return new_run(tmp_path_factory.mktemp("scores"), "quick")


@pytest.fixture(scope="module")
def scene(run):
    return run.game.own(run.holder.sae(run.specs[0]))[0]


@pytest.mark.parametrize("budget", ["quick", "standard"])
def test_the_suite_for_one_sae(benchmark, tmp_path, budget):
    """With activations cached, and with all that other SAEs would share. Targets on two cores: 45 s and 5 minutes."""
    run = new_run(tmp_path, budget)
    run.documents.trace(run.holder.sae(run.specs[0]))
    benchmark.pedantic(suite, (run,), rounds=1)


def test_a_further_sae(benchmark, run):
    """What is shared with SAEs before it is there already."""
    suite(run)

    def again() -> None:
        run.shelf.sae.clear()
        suite(run)

    benchmark.pedantic(again, rounds=1)


@pytest.mark.parametrize(("features", "prompts", "angles"), [(20, 8, 8), (40, 8, 8), (20, 16, 8), (20, 8, 16), (40, 16, 16)])  # fmt: skip
def test_cost_of_features_prompts_and_angles(benchmark, scene, features, prompts, angles):
    """Linear in the number of moved activations, which is twice their product."""
    directions = scene.mixtures.directions[:features]
    asked, steps = np.ones((prompts, features), dtype=bool), np.linspace(ANGLES[0], ANGLES[-1], angles)
    ask = scene.ask.some(range(prompts))
    benchmark.pedantic(lambda: turned(ask, directions, asked, steps), rounds=3, warmup_rounds=1)
    moved = 2 * features * prompts * angles
    benchmark.extra_info |= {"moved": moved, "moved_per_s": moved / benchmark.stats.stats.median}
    print(benchmark.extra_info)


def test_time_outside_of_forward_passes(benchmark, run, monkeypatch):
    """At most a fifth."""
    inside = [0.0]
    forward = Perturber._run

    def timed(self, held, points):
        begun = time.perf_counter()
        try:
            return forward(self, held, points)
        finally:
            inside[0] += time.perf_counter() - begun

    monkeypatch.setattr(Perturber, "_run", timed)
    suite(run)

    def again() -> None:
        inside[0] = 0.0
        run.shelf.sae.clear()
        suite(run)

    benchmark.pedantic(again, rounds=1)
    benchmark.extra_info["share_outside"] = 1 - inside[0] / benchmark.stats.stats.total
    print(benchmark.extra_info)


def test_moved_activations_against_the_bare_model(benchmark, scene):
    """Forward passes per second from the hook's layer, against whole ones over the same prompts."""
    prompt = max(range(len(scene.ask.prompts)), key=lambda i: len(scene.ask.prompts[i]))
    tokens = torch.tensor([scene.ask.prompts[prompt]]).repeat(256, 1)
    points = scene.ask.x[prompt].repeat(1024, 1)
    benchmark.pedantic(lambda: scene.ask(prompt, points), rounds=5, warmup_rounds=1)
    begun = time.perf_counter()
    scene.subject.logits(tokens)
    bare = len(tokens) / (time.perf_counter() - begun)
    moved = len(points) / benchmark.stats.stats.median
    benchmark.extra_info |= {"moved_per_s": moved, "whole_per_s": bare, "tokens": tokens.shape[1]}
    print(benchmark.extra_info)
