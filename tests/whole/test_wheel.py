"""What others install: the wheel alone, in a clean environment and from an empty folder."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from paths import ROOT

LARGEST = 40_000_000
"""Bytes of a wheel that no one minds to download."""
OWN = '''
class MySAE:
    """A dictionary of the axes: what is read is written again."""

    def encode(self, x):
        return x

    def decode(self, latents):
        return latents
'''


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        check=True, capture_output=True,
    )  # fmt: skip
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of an environment with the wheel, and with the libraries that lie here already."""
    folder = tmp_path_factory.mktemp("clean")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    subprocess.run([folder / "bin" / "pip", "install", "--quiet", "--no-deps", str(wheel)], check=True)
    # Paths of a .pth file are searched last, and .pth files below them are not read: the sources here are not found.
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def run(clean: Path, folder: Path, *command: str) -> str:
    """Standard output of a command that has to end well, from an empty folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST", "COV"))}
    done = subprocess.run(
        [clean / "python", "-m", *command], cwd=folder, env=kept, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_small_and_holds_what_is_needed(wheel: Path) -> None:
    assert wheel.stat().st_size < LARGEST
    names = zipfile.ZipFile(wheel).namelist()
    assert "saebench/suites/test_first_letter.py" in names
    assert "saebench/_fixtures/smollm2.toml" in names
    assert not [name for name in names if name.startswith(("tests/", "docs/")) or "smollm2/saes" in name]


def test_the_suites_run_on_an_sae_of_ones_own_from_an_empty_folder(clean: Path, tmp_path: Path) -> None:
    (tmp_path / "my_saes.py").write_text(OWN)
    out = run(
        clean, tmp_path, "pytest", "--pyargs", "saebench.suites", "--sae", "my_saes:MySAE", "--sae-budget", "smoke",
        "-k", "fvu and not retention and not marginal", "-p", "no:cacheprovider",
    )  # fmt: skip
    assert "test_fvu[my_saes:MySAE] 0.000" in out
    where = run(clean, tmp_path, "saebench", "doctor")
    assert str(clean.parent) in where
    assert str(ROOT) not in where.replace(str(Path(sysconfig.get_path("purelib"))), "")
    assert "my_saes:MySAE" in run(clean, tmp_path, "saebench", "show", "my_saes:MySAE")


def test_its_plugin_adds_nothing_to_other_runs(clean: Path, tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text("def test_reconstruction(): pass\n")
    out = run(clean, tmp_path, "pytest", "-q", "-p", "no:cacheprovider")
    assert "1 passed" in out
    assert "saebench:" not in out
