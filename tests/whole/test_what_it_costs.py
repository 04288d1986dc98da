"""CONTRIBUTING.md's table of what an addition costs is true: each is made in a copy of the house, by those files alone."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

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
    "saebench/cli.py": ("import compare, export", "import compare, count, export"),
}  # fmt: skip
ADDITIONS = {
    "a format of SAEs with a reader of its own": [
        "saebench/catalogue/layouts/tied.py",
        "saebench/saes/loaders/tied.py",
    ],
    "a control without training": ["saebench/catalogue/controls.py", "saebench/making/controls.py"],
    "a trained control": ["saebench/catalogue/controls.py"],
    "a fact as a column": ["saebench/record/facts.py"],
    "a command": ["saebench/commands/count.py", "saebench/cli.py"],
}
ROWS = """
import torch
from safetensors.torch import save_file
rows = torch.nn.functional.normalize(torch.randn(256, 192, generator=torch.Generator().manual_seed(0)), dim=1)
save_file({"rows": rows}, "mine/rows.safetensors")
"""
SAES = ("organism/topk-16~nothing", "organism/topk-16", "./mine")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("house")
    shutil.copytree(ROOT / "saebench", folder / "saebench", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("fixtures", "suites"):
        (folder / name).symlink_to(ROOT / name)
    for name, source in NEW.items():
        (folder / name).write_text(source)
    for name, (old, new) in CHANGED.items():
        before = (folder / name).read_text()
        assert before.count(old) == 1, name
        (folder / name).write_text(before.replace(old, new))
    cli = folder / "saebench" / "cli.py"
    cli.write_text(cli.read_text().replace("in (ls, fetch", "in (count, ls, fetch"))
    (folder / "mine").mkdir()
    (folder / "mine" / "tied.json").write_text(json.dumps({"hook": "blocks.1.hook_resid_post"}))
    python(folder, "-c", ROWS)
    return folder


def python(house: Path, *arguments: str) -> str:
    """What a process in the changed house prints."""
    env = {**os.environ, "PYTHONPATH": str(house)}
    done = subprocess.run([sys.executable, *arguments], cwd=house, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def scored(house: Path) -> dict[str, float]:
    """FVU by the name of the SAE."""
    saes = [f"--sae={name}" for name in SAES]
    chosen = ["suites/test_reconstruction.py", "-k", "test_fvu", "--sae-budget", "smoke", "-p", "no:cacheprovider"]
    python(house, "-m", "pytest", *chosen, *saes, "--sae-scores", "s.jsonl", "--rootdir", str(house))
    lines = (house / "s.jsonl").read_text().splitlines()
    return {score["sae"].rpartition("/")[2]: score["value"] for score in map(json.loads, lines)}


@pytest.mark.parametrize("what", ADDITIONS)
def test_the_table_says_how_many_files(what: str) -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text()
    (row,) = [line for line in table.splitlines() if line.startswith(f"| {what} |")]
    now = re.split(r" \| ", row)[2]
    assert int(now[0]) == len(ADDITIONS[what])
    assert set(ADDITIONS[what]) <= {*NEW, *CHANGED}


def test_a_format_and_a_control_are_scored(scored: dict[str, float]) -> None:
    assert set(scored) == {"topk-16~nothing", "topk-16", "mine"}
    assert scored["topk-16~nothing"] > 1  # zeros are further off than the mean
    assert scored["topk-16"] < 0.2 < scored["mine"]


def test_a_trained_control_has_a_name(house: Path) -> None:
    code = "from saebench.catalogue.registry import resolve; print(resolve('organism/topk-16~frozen_on_nothing')[0].control)"
    assert python(house, "-c", code) == "True\n"


def test_a_fact_has_a_column(house: Path, scored: dict[str, float]) -> None:
    python(house, "-m", "saebench", "publish", "s.jsonl", "--to", "boards")
    page = (house / "boards" / "s.md").read_text()
    (header,) = {line for line in page.splitlines() if line.startswith("| SAE ")}
    assert re.search(r"L0 \|\s+trained on \|\s+FVU", header)
    (row,) = [line for line in page.splitlines() if line.startswith("| organism/topk-16 ")]
    assert " world |" in row


def test_a_command_runs(house: Path, scored: dict[str, float]) -> None:
    assert python(house, "-m", "saebench", "count", "s.jsonl") == "3\n"
