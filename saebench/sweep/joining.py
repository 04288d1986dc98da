"""Scores files of jobs become one file as they arrive; each stays where it is until its scores stand in that one."""

import contextlib
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from saebench.exchange.merging import merge
from saebench.record.store import Store

REST = 9.0
"""Times as long as it took that the next joining waits: a tenth of the driver's time at most, however many scores there are."""
LOCKED = 200
"""Files that are joined at once, each of which is locked meanwhile: a process has some thousand files open at most."""
DRIVER = ".driver-"
"""How the name of a file begins by which workers know that they see the driver's folder."""
LEFT = (".jsonl.lock", ".xml")
"""What lies beside a job's scores file and has no use when they are joined."""


@dataclass
class Joiner:
    """Joins into `target` what it is given, when it is time, and tells what could not be joined."""

    target: Path
    clock: Callable[[], float] = time.monotonic
    waiting: list[Path] = field(default_factory=list)
    refused: dict[Path, str] = field(default_factory=dict)
    """Files that do not fit to the others, with the sentence that says why; they stay where they are."""
    _due: float = 0.0

    def add(self, scores: Path) -> None:
        self.waiting.append(scores)

    @property
    def due(self) -> bool:
        return bool(self.waiting) and self.clock() >= self._due

    def join(self) -> list[Path]:
        """Join all that waits; return which files are in the joined one now. Raises OSError where it cannot be written."""
        begun = self.clock()
        files = [path for path in dict.fromkeys(self.waiting) if path.is_file()]
        joined = [path for some in range(0, len(files), LOCKED) for path in self._moved(files[some : some + LOCKED])]
        self.waiting = []
        self._due = self.clock() + REST * (self.clock() - begun)
        return joined

    def _moved(self, files: list[Path]) -> list[Path]:
        """Join them, and remove what is joined; a process that nobody waits for any more may write no score in between."""
        with contextlib.ExitStack() as locks:
            for path in files:
                locks.enter_context(Store(path).locked())
            joined = self._joined(files)
            for path in set(files) - set(self.refused):
                remove(path)
        return joined

    def _joined(self, files: list[Path]) -> list[Path]:
        """All together; where that is refused, one by one, so that one that is wrong holds up no other."""
        files = [path for path in files if self._has_scores(path)]
        if not files:
            return []
        try:
            merge([*self._own(), *files], self.target)
        except ValueError as error:
            if len(files) == 1:
                self.refused[files[0]] = str(error)
                return []
            return [path for file in files for path in self._joined([file])]
        return files

    def _has_scores(self, path: Path) -> bool:
        """A run that was killed at its first score leaves a file without any."""
        try:
            return any(True for _ in Store(path).lines())
        except ValueError:
            return True  # which merging says in full

    def _own(self) -> list[Path]:
        return [self.target] if self.target.is_file() and self.target.stat().st_size else []


def leftovers(folder: Path) -> list[Path]:
    """Scores files that a driver which was killed did not join."""
    return sorted(folder.glob("*.jsonl"))


def tidy(folder: Path) -> None:
    """Remove what killed processes left beside scores files, and nobody will ask for; for one who is alone in a folder."""
    for path in [*folder.glob("jobs/.*"), *folder.glob(".scores.jsonl.*.tmp")]:
        if path.suffix == ".tmp" or path.name.startswith(DRIVER):
            path.unlink(missing_ok=True)
    for path in [*folder.glob("jobs/*.jsonl.lock"), *folder.glob("jobs/*.xml")]:
        if not path.with_name(f"{path.name.partition('.')[0]}.jsonl").exists():
            path.unlink(missing_ok=True)


def remove(scores: Path) -> None:
    """Remove a job's file, whose scores stand elsewhere; its log stays."""
    for suffix in LEFT:
        scores.with_suffix(suffix).unlink(missing_ok=True)
    shutil.rmtree(Store(scores).items_dir, ignore_errors=True)
    scores.unlink(missing_ok=True)
