"""CONTRIBUTING.md's table of what an addition costs is true: each is made in a copy of the house, by those files alone.

The new question is the worked example that stands there, on new evidence and without a language model.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import forks
import pytest
import torch
from paths import ROOT
from safetensors.torch import save_file

NEW = {
    "saebench/catalogue/layouts/tied.py": '''"""Rows of a decoder that encode as well."""

from saebench.catalogue.layouts.arrays import Arrays
from saebench.catalogue.layouts.fields import Fields
from saebench.catalogue.layouts.format import Format

CONFIG = "{path}/tied.json"
FORMATS = {
    "tied": Format(
        ("{path}/rows.safetensors", CONFIG), Arrays({"rows": "sae in"}, {}), configs={CONFIG: Fields(obeyed={"hook": str})},
        reader="tied", tried=6,
    ),
}
''',
    "saebench/saes/loaders/tied.py": '''"""An encoder that is its decoder."""

from typing import Any

from saebench.catalogue.spec import SAESpec
from saebench.hub.files import here
from saebench.record.json_files import read_json
from saebench.saes.loaders.build import built, tensors


def read(spec: SAESpec, device: str) -> Any:
    """Weights and hook."""
    weights, config = here(spec)
    rows = tensors(weights)["rows"]
    latents, d = rows.shape
    arrays = {"W_enc": rows.T.contiguous(), "W_dec": rows, "b_enc": rows.new_zeros(latents), "b_dec": rows.new_zeros(d)}
    about = {"hook_name": read_json(config)["hook"], "context_size": 64}
    return built({"architecture": "standard", "d_in": d, "d_sae": latents, "apply_b_dec_to_input": False,
                  "metadata": about}, arrays, device)
''',
    "saebench/commands/count.py": '''"""`saebench count`: how many scores a file has."""

import argparse

from saebench.commands import Commands, put
from saebench.record.store import Store


def add(commands: Commands) -> None:
    parser = commands.add_parser("count", help="how many scores a file has")
    parser.add_argument("file")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    put(str(len(Store(arguments.file).read())))
    return 0
''',
}
CHANGED = {
    "saebench/catalogue/controls.py": (
        'CONTROLS: dict[str, ControlKind] = {\n',
        'CONTROLS: dict[str, ControlKind] = {\n    "nothing": ControlKind("controls:nothing"),\n'
        '    "frozen_on_nothing": ControlKind(decoder="frozen", shuffled=True),\n',
    ),
    "saebench/making/controls.py": (
        "def identity(like: Like) -> Any:",
        'class Nothing:\n    """Its latents are off."""\n\n    def encode(self, x: Tensor) -> Tensor:\n        return x * 0\n\n'
        "    def decode(self, latents: Tensor) -> Tensor:\n        return latents * 0\n\n\n"
        "def nothing(like: Like) -> Any:\n    return Nothing()\n\n\ndef identity(like: Like) -> Any:",
    ),
    "saebench/record/facts.py": ('    Fact("FVU",', '    Fact("trained on", "trained_on"),\n    Fact("FVU",'),
    "saebench/cli.py": ("import compare, doctor,", "import compare, count, doctor,"),
}  # fmt: skip
QUESTION = ["saebench/evidence/decoder.py", "saebench/metrics/coherence.py", "suites/test_coherence.py"]
ADDITIONS = {
    "a format of SAEs with a reader of its own": [
        "saebench/catalogue/layouts/tied.py",
        "saebench/saes/loaders/tied.py",
    ],
    "a control without training": ["saebench/catalogue/controls.py", "saebench/making/controls.py"],
    "a trained control": ["saebench/catalogue/controls.py"],
    "a fact as a column": ["saebench/record/facts.py"],
    "a suite on new evidence": QUESTION,
    "a command": ["saebench/commands/count.py", "saebench/cli.py"],
}
SAES = ("organism/topk-16~nothing", "organism/topk-16", "./mine")


FVU = "reconstruction.fvu"
Scores = dict[tuple[str, str], dict[str, Any]]
"""By property, and the SAE's name without its family's."""


def examples() -> dict[str, str]:
    """Files that CONTRIBUTING.md shows, by the name in their first line."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return dict(re.findall(r"```python\n# (\S+\.py)\n(.*?)```", text, re.DOTALL))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("house")
    shutil.copytree(ROOT / "saebench", folder / "saebench", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "fixtures").symlink_to(ROOT / "fixtures")
    (folder / "suites").mkdir()
    shutil.copy(ROOT / "suites" / "test_reconstruction.py", folder / "suites")
    for name, source in {**NEW, **examples()}.items():
        (folder / name).write_text(source)
    for name, (old, new) in CHANGED.items():
        before = (folder / name).read_text()
        assert before.count(old) == 1, name
        (folder / name).write_text(before.replace(old, new))
    cli = folder / "saebench" / "cli.py"
    cli.write_text(cli.read_text().replace("in (doctor, ls", "in (count, doctor, ls"))
    (folder / "mine").mkdir()
    (folder / "mine" / "tied.json").write_text(json.dumps({"hook": "blocks.1.hook_resid_post"}))
    rows = torch.randn(256, 192, generator=torch.Generator().manual_seed(0))
    save_file({"rows": torch.nn.functional.normalize(rows, dim=1)}, folder / "mine" / "rows.safetensors")
    return folder


def python(house: Path, *arguments: str) -> str:
    """What a process in the changed house prints."""
    env = {**os.environ, "PYTHONPATH": str(house)}
    done = subprocess.run([forks.python(), *arguments], cwd=house, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def run(house: Path) -> str:
    chosen = ["suites", "-k", "test_fvu or test_nearest", "--sae-budget", "smoke", "-p", "no:cacheprovider"]
    saes = [f"--sae={name}" for name in SAES]
    return python(house, "-m", "pytest", *chosen, *saes, "--sae-scores", "s.jsonl", "--rootdir", str(house))


@pytest.fixture(scope="module")
def scored(house: Path) -> Scores:
    run(house)
    found = map(json.loads, (house / "s.jsonl").read_text().splitlines())
    return {(score["property"], score["sae"].rpartition("/")[2]): score for score in found}


@pytest.fixture(scope="module")
def page(house: Path, scored: Scores) -> str:
    python(house, "-m", "saebench", "publish", "s.jsonl", "--to", "boards")
    return (house / "boards" / "s.md").read_text()


@pytest.mark.parametrize("what", ADDITIONS)
def test_the_table_says_how_many_files(what: str) -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text()
    (row,) = [line for line in table.splitlines() if line.startswith(f"| {what} |")]
    now = re.split(r" \| ", row)[2]
    assert int(now[0]) == len(ADDITIONS[what])
    assert set(ADDITIONS[what]) <= {*NEW, *CHANGED, *examples()}


def test_a_format_and_a_control_are_scored(scored: Scores) -> None:
    found = {name: score["value"] for (measure, name), score in scored.items() if measure == FVU}
    assert set(found) == {"topk-16~nothing", "topk-16", "mine"}
    assert found["topk-16~nothing"] > 1  # zeros are further off than the mean
    assert found["topk-16"] < 0.2 < found["mine"]


def test_the_example_is_whole(scored: Scores) -> None:
    assert list(examples()) == QUESTION
    of_sae, of_control = scored["coherence.nearest", "topk-16"], scored["coherence.nearest", "topk-16~nothing"]
    assert 0 < of_sae["value"] < 1
    assert of_control["unscored_reason"] == "the number of its latents is not known"


def test_what_it_reads_is_its_corpus_and_no_model_has_a_part_in_it(scored: Scores) -> None:
    score = scored["coherence.nearest", "topk-16"]
    assert (score["corpus"], score["model_digest"], score["hook"], score["l0"]) == ("weights", "", "", None)
    assert score["d_sae"] == 1024


def test_what_was_scored_is_found_again(house: Path, scored: Scores) -> None:
    assert run(house).count("(stored)") == sum(score["value"] is not None for score in scored.values())


def test_a_fact_has_a_column_and_a_question_its_words(page: str) -> None:
    headers = {line for line in page.splitlines() if line.startswith("| SAE ")}
    assert all(re.search(r"L0 \|\s+trained on \|\s+FVU", header) for header in headers)
    assert headers
    assert " world |" in next(line for line in page.splitlines() if line.startswith("| organism/topk-16 "))
    assert "Are latents copies of one another?" in page
    assert "Cosine of a latent's direction and the one most similar to it" in page


def test_a_command_runs_and_a_trained_control_has_a_name(house: Path, scored: Scores) -> None:
    code = (
        "from saebench.catalogue.registry import resolve; from saebench.cli import main; main(['count', 's.jsonl']);"
        " print(resolve('organism/topk-16~frozen_on_nothing')[0].control)"
    )
    assert python(house, "-c", code).split() == [str(len(scored)), "True"]
