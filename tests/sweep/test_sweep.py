"""A sweep of two SAEs on a local Ray of two workers, of which one is killed, is one plain run, score by score."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import smaller
from paths import ROOT

from saebench.cli import main
from saebench.record.store import Store

pytest.importorskip("ray")
SAES = ["--sae", "organism/topk-16", "--sae", "organism/gated-16"]
SUITE = '''
"""Is it small?"""
import pytest
from saebench.metrics import reconstruction

@pytest.mark.score("reconstruction.fvu", 1, "lower", "fraction")
def test_fvu(rebuilt, record):
    record(reconstruction.fvu(rebuilt))

@pytest.mark.score("reconstruction.l0", 1, "neither", "latents")
def test_l0(rebuilt, record):
    record(reconstruction.l0(rebuilt))
'''


def runs_of_jobs(driver: psutil.Process) -> list[psutil.Process]:
    """The pytest processes that a sweep's workers have begun."""
    found = []
    for process in driver.children(recursive=True):
        try:
            command = process.cmdline()
        except psutil.Error:
            continue
        if "pytest" in command and any("jobs/" in word for word in command):
            found.append(process)
    return found


def kill_one(driver: subprocess.Popen[str]) -> None:
    """As soon as there is one."""
    process, end = psutil.Process(driver.pid), time.monotonic() + 120
    while driver.poll() is None and time.monotonic() < end:
        if runs := runs_of_jobs(process):
            return runs[0].kill()
        time.sleep(0.1)
    raise AssertionError("no job was begun")


def measured(path: Path) -> list[tuple[object, ...]]:
    """What is the same in every run of the same measurement."""
    store = Store(path)
    rows = [
        (score.identity(), score.value, score.ci_low, score.ci_high, score.n, score.items) for score in store.read()
    ]
    assert all(store.load_items(score) for score in store.read() if score.items)
    return sorted(rows, key=str)


def test_a_sweep_with_a_killed_worker_is_one_plain_run(tmp_path: Path) -> None:
    (tmp_path / "test_small.py").write_text(SUITE)
    how = {**smaller.environment(), "PYTEST_ADDOPTS": "-p smaller", "SAEBENCH_CACHE": str(tmp_path / "cache")}
    options = [*SAES, "--sae-budget", "smoke"]
    command = [sys.executable, "-m", "saebench", "sweep", *options, "--suites", str(tmp_path / "test_small.py")]
    with subprocess.Popen(
        [*command, "--to", str(tmp_path / "to"), "--workers", "2"], cwd=ROOT, env=how, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as sweep:  # fmt: skip
        kill_one(sweep)
        said, error = sweep.communicate(timeout=240)
    assert sweep.returncode == 0, said + error
    assert "is tried again: its process was killed by signal 9" in said
    assert "4 scores of 2 SAEs; 1 times a job was tried again" in said
    plain = [sys.executable, "-m", "pytest", str(tmp_path / "test_small.py"), *options, "-p", "no:cacheprovider"]
    subprocess.run([*plain, "--sae-scores", str(tmp_path / "plain.jsonl")], cwd=ROOT, env=how, check=True)
    assert measured(tmp_path / "to" / "scores.jsonl") == measured(tmp_path / "plain.jsonl")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sae", "organism/topk-166"], "--sae organism/topk-166: no such SAE. Did you mean 'organism/topk-16'?"),
        ([*SAES, "--sae-judge", "foo"], "--sae-judge foo: no judge is called so."),
        ([*SAES, "--sae-seeds", "0"], "--sae-seeds 0: expected 1 or more repetitions"),
        ([*SAES, "--suites", "none.py"], "file or directory not found: none.py"),
        ([*SAES, "--workers", "0"], "--workers 0: expected 1 or more"),
        ([*SAES, "--retries", "-1"], "--retries -1: expected 0 or more"),
        ([*SAES, "--gpus-per-worker", "1.5"], "--gpus-per-worker 1.5: expected a part of one, as 0.5, or a whole number"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence_before_anything_is_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["sweep", *arguments, "--to", str(tmp_path / "to"), "--plan"]) == 4
    error = capsys.readouterr().err
    assert error.startswith(f"saebench: {said}")
    assert error.count("\n") == 1
    assert not (tmp_path / "to").exists()
