"""Good and bad SAEs in one run, through real suites: the good ones' scores are bitwise those of runs alone."""

import json
import subprocess
from pathlib import Path

import forks
import pytest
import smaller
from paths import ROOT

from saebench.record.score import Score
from saebench.record.store import Store

SUITES = [ROOT / "suites" / f"test_{name}.py" for name in ("reconstruction", "first_letter")]
CHOSEN = "test_fvu or test_l0 or test_kl or test_f1 or test_recall or test_ablation_share"
SAES = """
import warnings
import torch
from safetensors.torch import load_file
from saebench.record.places import fixtures_dir

def weights(name):
    folder = fixtures_dir() / "organism" / "saes" / name
    return {key: value.float() for key, value in load_file(folder / "sae_weights.safetensors").items()}

class TopK:
    context_size = 64
    k = 16
    def __init__(self, name="topk-16"):
        self.w = weights(name)
    def encode(self, x):
        read = ((x - self.w["b_dec"]) @ self.w["W_enc"] + self.w["b_enc"]).relu()
        kept = read.topk(self.k, dim=-1)
        return torch.zeros_like(read).scatter(-1, kept.indices, kept.values)
    def decode(self, latents):
        return latents @ self.w["W_dec"] + self.w["b_dec"]

def good(): return TopK()
def good_too(): return TopK("batchtopk-16")

class Warns(TopK):
    def encode(self, x):
        warnings.warn("about something")
        return super().encode(x)

class InPlace(TopK):
    def encode(self, x):
        x -= self.w["b_dec"]
        read = (x @ self.w["W_enc"] + self.w["b_enc"]).relu()
        kept = read.topk(self.k, dim=-1)
        return torch.zeros_like(read).scatter(-1, kept.indices, kept.values)
    def decode(self, latents):
        found = latents @ self.w["W_dec"] + self.w["b_dec"]
        latents.zero_()
        return found

class Trains(torch.nn.Module):
    context_size = 64
    def __init__(self):
        super().__init__()
        self.inner, self.drop = TopK(), torch.nn.Dropout(0.5)
    def encode(self, x): return self.inner.encode(self.drop(x))
    def decode(self, latents): return self.inner.decode(latents)

class Broken(TopK):
    def encode(self, x): raise RuntimeError("not today")

def unreadable(): raise SystemExit(0)

class Global(TopK):
    def encode(self, x):
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(3)
        torch.use_deterministic_algorithms(True)
        return super().encode(x)
"""
GOOD = ("good", "good_too")
ORDER = ("InPlace", "good", "Broken", "Warns", "Global", "unreadable", "Trains", "good_too")
LIKE_GOOD = ("Warns", "InPlace", "Trains", "Global")
"""Whatever they do beside it, they compute what `good` computes."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("mixed")
    (found / "my_saes.py").write_text(SAES)
    return found


def run(folder: Path, names: tuple[str, ...], *arguments: str, file: str) -> subprocess.CompletedProcess[str]:
    saes = [argument for name in names for argument in ("--sae", f"my_saes:{name}")]
    options = [*saes, "--sae-budget", "smoke", "--sae-scores", file, "-k", CHOSEN, "-p", "no:cacheprovider"]
    return subprocess.run(
        [forks.python(), "-m", "pytest", "-p", "smaller", *map(str, SUITES), "--rootdir", str(folder), *options, *arguments],
        cwd=folder, env=smaller.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip


def values(folder: Path, file: str, name: str) -> dict[str, object]:
    scores: list[Score] = [score for score in Store(folder / file).read() if score.sae == f"my_saes:{name}"]
    keys = {f"{score.property}{json.dumps(score.params)}": score for score in scores}
    return {key: (s.value, s.ci_low, s.ci_high, s.unscored_reason, s.items) for key, s in keys.items()}


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[str, dict[str, object]]:
    found = {}
    for name in GOOD:
        assert run(folder, (name,), file=f"{name}.jsonl").returncode == 0
        found[name] = values(folder, f"{name}.jsonl", name)
        assert len(found[name]) >= 7
    return found


@pytest.fixture(scope="module", params=[(), ("-n", "2")], ids=["one process", "two workers"])
def mixed(request: pytest.FixtureRequest, folder: Path, alone: object) -> tuple[str, str, int]:
    file = f"mixed{len(request.param)}.jsonl"
    done = run(folder, ORDER, *request.param, file=file)
    return file, done.stdout + done.stderr, done.returncode


def test_scores_of_good_saes_are_those_of_runs_alone(mixed, folder, alone) -> None:
    for name in GOOD:
        assert values(folder, mixed[0], name) == alone[name]


def test_what_an_sae_does_beside_its_work_changes_none_of_its_scores(mixed, folder, alone) -> None:
    for name in LIKE_GOOD:
        assert values(folder, mixed[0], name) == alone["good"], name


def test_bad_ones_fail_with_a_sentence_and_the_run_goes_on(mixed, folder, alone) -> None:
    _, said, code = mixed
    assert code == 1
    assert "Traceback" not in said
    assert "INTERNALERROR" not in said
    assert said.count("saebench: my_saes:unreadable cannot be read: SystemExit: 0") == 1
    count = len(alone["good"])
    assert f"{2 * count} failed" in said
    broken = [score for score in Store(folder / mixed[0]).read() if score.sae == "my_saes:Broken"]
    assert len(broken) == count
    assert all("not today" in str(score.unscored_reason) for score in broken if score.broken)
    assert sum(score.broken for score in broken) >= count - 1
