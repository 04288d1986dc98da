"""The house is as CONTRIBUTING.md draws it: who may import whom is held, and what breaks it is found."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

TOP = {"__init__.py", "__main__.py", "cli.py", "plugin.py", "py.typed"}
PACKAGE = ROOT / "saebench"
ROOMS = sorted(path.parent for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE)
BROKEN = {
    "an arrow that runs upwards": ("record/score.py", "import saebench.run.run", "record is not allowed to import"),
    "a circle in a room": ("run/shelf.py", "import saebench.run.run", "No cycles are allowed in saebench.run"),
    "a metric that looks things up": ("metrics/editing.py", "import saebench.hub.hub", "saebench.hub"),
    "a board that knows an SAE": ("boards/plot.py", "import saebench.saes.sae", "saebench.saes"),
    "torch where names are looked up": ("catalogue/spec.py", "import torch", "torch"),
    "a room that is in no layer": ("attic/__init__.py", '"""Things."""', "attic"),
}


def linted(folder: Path) -> subprocess.CompletedProcess[str]:
    """What `lint-imports` says of a package that is as ours in all but what was broken on purpose."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()", "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env={"PYTHONPATH": "."})


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("house")
    shutil.copytree(PACKAGE, folder / "saebench", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_the_contract_holds(house: Path) -> None:
    done = linted(house)
    assert "0 broken" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("what", BROKEN)
def test_the_contract_can_fail(house: Path, what: str) -> None:
    name, line, said = BROKEN[what]
    path = house / "saebench" / name
    before = path.read_text() if path.exists() else None
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{before or ''}\n{line}\n")
    done = linted(house)
    path.write_text(before) if before is not None else shutil.rmtree(path.parent)
    assert done.returncode == 1
    assert said in done.stdout


def test_nothing_but_the_two_doors_lies_at_the_top() -> None:
    assert {path.name for path in PACKAGE.iterdir() if path.is_file()} == TOP


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: str(room.relative_to(PACKAGE)))
def test_every_room_says_what_it_is_for(room: Path) -> None:
    assert ast.get_docstring(ast.parse((room / "__init__.py").read_text()))


def test_no_file_is_long_and_no_function_either() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        source = path.read_text()
        assert len(source.splitlines()) <= 250, path
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 40, f"{path}: {node.name}"


def test_tests_mirror_the_rooms() -> None:
    rooms = {str(room.relative_to(PACKAGE)) for room in ROOMS}
    folders = {str(path.parent.relative_to(ROOT / "tests")) for path in (ROOT / "tests").rglob("test_*.py")}
    assert {folder for folder in folders if folder.partition("/")[0] not in ("truth", "whole", "real")} <= rooms
    assert len(folders) > 15
