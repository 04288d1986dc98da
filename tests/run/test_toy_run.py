"""Runs on toy worlds: what is asked of which SAE, what has no answer there, and the exam."""

import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

from saebench.catalogue.architectures import EXAMS, SEEDS, resolve, trained_as
from saebench.catalogue.registry import resolve as resolve_sae
from saebench.record.score import Unscored
from saebench.record.store import Store
from saebench.run.options import Options
from saebench.run.run import Run

SAE = "toy/absorption/tied-batchtopk-12-120"


def run(tmp_path: Path, *names: str) -> Run:
    specs = [spec for name in names for spec in resolve_sae(name)]
    return Run(specs, Store(tmp_path / "scores.jsonl"), Options("smoke"))


def test_an_sae_of_a_world_finds_its_features_and_the_oracle_is_told(tmp_path: Path) -> None:
    found = run(tmp_path, SAE, f"{SAE}~oracle", f"{SAE}~random_l0")
    known = [found.samples.known(found.holder.sae(spec)) for spec in found.specs]
    own, oracle, random = (each.sae.cosine.mean() for each in known)
    assert own > 0.9
    assert oracle == pytest.approx(1.0, abs=1e-5)
    assert random < 0.4


def test_a_toy_has_activations_and_no_language_model(tmp_path: Path) -> None:
    found = run(tmp_path, SAE)
    sae = found.holder.sae(found.specs[0])
    rebuilt = found.documents.rebuilt(sae)
    assert rebuilt.error.sum() / rebuilt.signal.sum() < 0.1
    for ask in (found.documents.trace, found.game.lineup):
        with pytest.raises(Unscored, match="toy:absorption is no language model"):
            ask(sae)


def test_what_an_sae_makes_of_samples_is_what_it_makes_of_documents(tmp_path: Path) -> None:
    found = run(tmp_path, SAE)
    sae, model = found.holder.sae(found.specs[0]), found.models
    sample = model.sample(found.samples.known(sae).world)
    x, rebuilt = sample.x, found.documents.rebuilt(sae)
    error = (x - sae.decode(sae.encode(x), x)).square().sum(1).double()
    assert rebuilt.error[:, 1:].flatten().numpy() == pytest.approx(error.numpy(), abs=1e-5)


def test_positions_beyond_those_of_training_are_a_failure_with_a_known_cause(tmp_path: Path) -> None:
    from saebench.metrics.context_length import fvu_retention

    found = run(tmp_path, "toy/position/topk-4-192", "toy/positionless/topk-4-192")
    beyond, without = (fvu_retention(found.documents.rebuilt(found.holder.sae(spec))) for spec in found.specs)
    assert beyond.ci_high < 0.2
    assert without.value == pytest.approx(1.0, abs=0.1)


def test_features_of_a_language_model_are_not_known(tmp_path: Path) -> None:
    found = run(tmp_path, "organism/topk-16")
    with pytest.raises(Unscored, match="the features of organism are not known"):
        found.samples.known(found.holder.sae(found.specs[0]))


def test_the_exam_is_of_every_world_at_three_sparsities_from_every_seed() -> None:
    specs = resolve(["examples.tied_topk:TiedTopK@toy"], None, None, "quick")
    assert len(specs) == sum(len(exam.l0s) for exam in EXAMS) * len(SEEDS)
    assert {spec.model for spec in specs} == {f"toy:{exam.world}" for exam in EXAMS}
    assert specs[0].name == "examples.tied_topk:TiedTopK@toy/absorption/l0-6/seed-0"
    assert {trained_as(spec.name) for spec in specs} == {"examples.tied_topk:TiedTopK@toy"}
    assert trained_as("m:Own@blocks.1.hook_resid_post/l0-8/seed-1") == "m:Own@blocks.1.hook_resid_post"


def collected(folder: Path, *options: str) -> list[str]:
    command = [sys.executable, "-m", "pytest", str(ROOT / "suites"), "--collect-only", "-q", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if "::" in line]


def test_known_features_are_asked_of_toys_alone_and_toys_take_an_exam_in_nothing_else(tmp_path: Path) -> None:
    assert not any("known_truth" in line for line in collected(tmp_path, "--sae", "organism/topk-16"))
    of_toy = collected(tmp_path, "--sae", SAE)
    asked = [line for line in of_toy if "known_truth" in line]
    assert any("test_absorption_of_pairs" in line for line in asked)
    assert not any("test_composition" in line for line in asked)
    assert any("test_reconstruction" in line for line in of_toy)
    exam = collected(tmp_path, "--sae-arch", "topk@toy")
    assert exam
    assert all("known_truth" in line for line in exam)
