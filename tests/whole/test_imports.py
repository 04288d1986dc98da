"""Listing, comparing and collecting stay light: a subprocess tells, and another shows that it would notice."""

import pytest
from imported import loaded_by

LIGHT_MODULES = (
    "record.score, record.store, record.properties, catalogue.spec, catalogue.registry, compare.gate, boards.leaderboard,"
    " boards.plot, cli, evidence.provider"
)


def test_light_modules_import_nothing_heavy():
    assert loaded_by("; ".join(f"import saebench.{name.strip()}" for name in LIGHT_MODULES.split(","))) == []


def test_the_check_above_can_fail():
    assert "torch" in loaded_by("import saebench.saes.sae")


@pytest.mark.parametrize("arguments", [["--help"], ["suites", "--collect-only", "-q"]])
def test_pytest_help_and_collection_import_no_torch(arguments):
    run = f"import pytest; pytest.main({arguments!r}); print()"
    assert "torch" not in loaded_by(run)


@pytest.mark.parametrize("command", [["ls"], ["publish", "--check"], ["--help"]])
def test_commands_import_nothing_heavy(command):
    run = f"from saebench.cli import main\ntry: main({command!r})\nexcept SystemExit: pass\nprint(); print()"
    statement = f"exec({run!r})"
    assert loaded_by(statement) == []
