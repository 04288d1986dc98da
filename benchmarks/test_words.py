"""How long the first-letter and absorption suites take: `make benchmarks`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from saebench.catalogue.registry import resolve
from saebench.evidence.words.detectors import find_detectors
from saebench.evidence.words.speller import make_speller
from saebench.evidence.words.study import make_study
from saebench.metrics import absorption, editing, first_letter
from saebench.record.score import Unscored
from saebench.record.store import Store
from saebench.run.run import Run
from saebench.subject.cache import Cache

SETS = ("letters", "taxonomy", "attributes")
OF_DETECTORS = (
    first_letter.precision, first_letter.recall, first_letter.f1, first_letter.split_precision,
    first_letter.split_recall, first_letter.split_f1, first_letter.k_sparse_f1, first_letter.f1_gap,
    first_letter.split_count, absorption.full_rate, absorption.fraction_0_6_0, absorption.fraction_0_3_2,
    absorption.recall_hole,
)  # fmt: skip


def new_run(folder: Path) -> Run:
    return Run(resolve("organism/standard-16"), Store(folder / "s.jsonl"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Everything that does not depend on the SAE is there already."""
    run = new_run(tmp_path_factory.mktemp("scores"))
    for concepts in SETS:
        run.words.probe(run.specs[0], concepts)
    run.words.speller(run.specs[0], "letters")
    return run


def scored(score, *arguments):
    try:
        return score(*arguments)
    except Unscored:
        return None


def both_suites(run: Run) -> None:
    sae = run.holder.sae(run.specs[0])
    run.shelf.sae.clear()
    study, detectors = run.words.study(sae, "letters"), run.words.detectors(sae, "letters")
    for score in OF_DETECTORS:
        scored(score, study, detectors)
    first_letter.probe_f1(study)
    for score in (editing.ablation_share, editing.causal_rate):
        scored(score, study, detectors, run.words.speller(sae.spec, "letters"))
    for concepts in SETS:
        scored(absorption.suppression_ratio, run.words.study(sae, concepts), run.words.detectors(sae, concepts))


def test_both_suites_of_one_sae_with_cached_activations(benchmark, run):
    """The target is 3 s on two cores."""
    benchmark.pedantic(both_suites, (run,), rounds=3, warmup_rounds=1)


def test_the_part_that_saebench_has_too(benchmark, run, monkeypatch):
    """k-sparse probes, splits, full rate, fraction, without the control of random directions. The target is 0.8 s."""
    sae = run.holder.sae(run.specs[0])
    readings, probe = run.words.readings(sae.spec, "letters"), run.words.probe(sae.spec, "letters")
    monkeypatch.setattr(absorption, "check_better_than_random", lambda study, detectors: None)

    def part() -> None:
        study = make_study(sae, readings, probe)
        detectors = find_detectors(study)
        absorption.full_rate(study, detectors)
        absorption.fraction_0_6_0(study, detectors)

    benchmark.pedantic(part, rounds=3, warmup_rounds=1)


def test_both_suites_of_one_sae_without_cache(benchmark, monkeypatch, tmp_path):
    """The target is 20 s on two cores."""

    def from_nothing() -> None:
        monkeypatch.setenv("SAEBENCH_CACHE", str(tmp_path / "cache"))
        both_suites(new_run(tmp_path))

    benchmark.pedantic(from_nothing, rounds=1)


def test_asking_for_the_words_that_are_edited(benchmark, run, tmp_path):
    """What `first_letter.ablation_share` and `absorption.causal_rate` need of the model, once for all SAEs."""
    spec = run.specs[0]
    subject, readings, probe = (
        run.models.subject(spec),
        run.words.readings(spec, "letters"),
        run.words.probe(spec, "letters"),
    )
    folders = iter(tmp_path / str(i) for i in range(10))
    benchmark.pedantic(lambda: make_speller(subject, readings, probe, Cache(next(folders))), rounds=3, warmup_rounds=1)


def test_causal_rate(benchmark, run):
    """A forward and a backward pass per word and step, from the hook's layer on."""
    sae = run.holder.sae(run.specs[0])
    study, detectors = run.words.study(sae, "letters"), run.words.detectors(sae, "letters")
    speller = run.words.speller(sae.spec, "letters")
    benchmark.pedantic(editing.causal_rate, (study, detectors, speller), rounds=3, warmup_rounds=1)


@pytest.mark.parametrize(
    ("words", "latents"),
    [(18_750, 16_384), (37_500, 16_384), (75_000, 16_384), (150_000, 16_384), (37_500, 4096), (37_500, 8192)],
)
def test_at_scale(benchmark, words, latents):
    """Peak memory, at most 6 GB at 150,000 words, and seconds per step, none above three times the bare encode."""
    script = Path(__file__).with_name("at_scale.py")

    def measure() -> dict[str, object]:
        done = subprocess.run(
            [sys.executable, script, str(words), str(latents)], capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout)

    benchmark.extra_info |= benchmark.pedantic(measure, rounds=1)
    print(benchmark.extra_info)
