"""The worked example of CONTRIBUTING.md is all that a new question takes, on new evidence, and without a language model."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

SAES = ("organism/topk-16", "organism/gated-16")


def examples() -> dict[str, str]:
    """Files that CONTRIBUTING.md shows, by the name in their first line."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return dict(re.findall(r"```python\n# (\S+\.py)\n(.*?)```", text, re.DOTALL))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package with the files of the example, and nothing else changed."""
    folder = tmp_path_factory.mktemp("house")
    shutil.copytree(ROOT / "saebench", folder / "saebench", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "fixtures").symlink_to(ROOT / "fixtures")
    (folder / "suites").mkdir()
    for name, source in examples().items():
        (folder / name).write_text(source)
    return folder


@pytest.fixture(scope="module")
def scores(house: Path) -> list[dict[str, object]]:
    command = [sys.executable, "-m", "pytest", "suites", *(f"--sae={name}" for name in SAES), "--sae-scores", "s.jsonl"]
    run = lambda: subprocess.run(  # noqa: E731
        [*command, "--sae-budget", "smoke", "-p", "no:cacheprovider"], cwd=house, capture_output=True, text=True,
        check=False, env={**os.environ, "PYTHONPATH": str(house)},
    )  # fmt: skip
    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "(stored)" in run().stdout
    return [json.loads(line) for line in (house / "s.jsonl").read_text().splitlines()]


def test_it_is_three_files() -> None:
    assert list(examples()) == [
        "saebench/evidence/decoder.py",
        "saebench/metrics/coherence.py",
        "suites/test_coherence.py",
    ]


def test_every_sae_is_scored_once(scores: list[dict[str, object]]) -> None:
    assert [score["sae"] for score in scores] == list(SAES)
    assert all(0 < float(str(score["value"])) < 1 for score in scores)


def test_what_it_reads_is_its_corpus_and_no_model_has_a_part_in_it(scores: list[dict[str, object]]) -> None:
    for score in scores:
        assert (score["corpus"], score["model_digest"], score["hook"]) == ("weights", "", "")
        assert score["l0"] is None
        assert score["d_sae"] == 1024


def test_boards_know_it(house: Path, scores: list[dict[str, object]]) -> None:
    command = [sys.executable, "-m", "saebench", "publish", "s.jsonl", "--to", "boards"]
    env = {**os.environ, "PYTHONPATH": str(house)}
    done = subprocess.run(command, cwd=house, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (house / "boards" / "s.md").read_text()
    assert "Are latents copies of one another?" in page
    assert "Cosine of a latent's direction and the one most similar to it" in page
