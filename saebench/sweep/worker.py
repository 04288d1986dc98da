"""One job on the machine that it is run on: a pytest run in a process of its own, and what came of it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from saebench.sweep.asked import Asked
from saebench.sweep.packing import pack, unpack
from saebench.sweep.planning import Job
from saebench.sweep.results import Result, is_full, last_words, results

THREADS = "OMP_NUM_THREADS"


@dataclass(frozen=True)
class Task:
    """A job with all that a worker has to know."""

    job: Job
    asked: Asked
    folder: Path
    """Where the driver keeps scores files of jobs."""
    token: str
    """A file in it by which a worker knows that it sees the same folder."""
    threads: int
    begun: bytes = b""
    """Packed scores of earlier runs, for a worker that does not see the folder."""
    runs_in: str = "."
    """The folder that the driver was started in."""


@dataclass(frozen=True)
class Outcome:
    """What came of a job."""

    job: Job
    code: int
    """Of pytest, or of the signal that ended it."""
    sentence: str
    """Why it came to no end; empty where it did."""
    results: tuple[Result, ...] = ()
    node: str = ""
    seconds: float = 0.0
    packed: bytes = b""
    """Its scores, from a worker that does not see the driver's folder."""

    @property
    def again(self) -> bool:
        """Whether another try, or another machine, may help: it was killed, or found a disk full."""
        said = [self.sentence, *(result.failed for result in self.results)]
        return self.code < 0 or self.code > 128 or any(map(is_full, said))


def work(task: Task) -> Outcome:
    """Run a job to its end. What it has measured is on disk at every moment, wherever it is stopped."""
    begun = time.monotonic()
    with _folder(task) as (folder, shared):
        scores = folder / f"{task.job.name}.jsonl"
        code = _run(task, scores)
        found = results(_beside(scores, ".xml"), task.job.saes)
        # Without tests, or where they came to no end, the log says why.
        sentence = "" if code in (0, 1) else last_words(_beside(scores, ".log"), code)
        packed = b"" if shared else pack(scores)
    node = socket.gethostname()
    return Outcome(task.job, code, sentence, tuple(found), node, time.monotonic() - begun, packed)


@contextmanager
def _folder(task: Task) -> Iterator[tuple[Path, bool]]:
    """The driver's folder where this machine sees it; else one of its own."""
    if (task.folder / task.token).is_file():
        yield task.folder, True
        return
    with TemporaryDirectory(prefix="saebench-") as own:
        unpack(task.begun, Path(own) / f"{task.job.name}.jsonl")
        yield Path(own), False


def _run(task: Task, scores: Path) -> int:
    # A report of an earlier try would be taken for that of this one.
    _beside(scores, ".xml").unlink(missing_ok=True)
    command = task.asked.command(sys.executable, task.job.saes, scores)
    report = ["--junitxml", str(_beside(scores, ".xml"))]
    tied = [sys.executable, "-m", "saebench.sweep.tied", str(os.getpid()), *command, *report]
    own = {**os.environ, THREADS: str(task.threads)}
    where = task.runs_in if Path(task.runs_in).is_dir() else None
    with _beside(scores, ".log").open("wb") as log:
        return subprocess.run(
            tied, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=own, cwd=where, check=False
        ).returncode


def _beside(scores: Path, suffix: str) -> Path:
    return scores.with_suffix(suffix)
