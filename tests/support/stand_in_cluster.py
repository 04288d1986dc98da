"""A cluster that measures nothing: jobs write made-up scores, and what goes wrong is drawn."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from factories import make_score

from saebench.record.store import Store
from saebench.sweep.engine import Room
from saebench.sweep.packing import pack, unpack
from saebench.sweep.results import Result
from saebench.sweep.worker import Outcome, Task

TESTS = ("x.one", "x.two")


class Killed(BaseException):
    """What ends a driver at once, as SIGKILL does but for what is written in `finally`."""


def value_of(sae: str, test: str) -> float:
    return Random(f"{sae} {test}").random()


def measure(scores: Path, saes: tuple[str, ...]) -> Iterator[Result]:
    """What pytest does: what is there is found, what is not is measured and appended."""
    store = Store(scores)
    for sae in saes:
        for test in TESTS:
            score = make_score(sae=sae, property=test, value=value_of(sae, test))
            if score.identity() not in store.newest():
                store.append(score, {"x": [value_of(sae, test)]})
            yield Result(sae, test, True, "")


@dataclass
class StandInCluster:
    """Runs one job after the other, whenever somebody waits."""

    address: str | None = None
    workers: int | None = None
    gpus_per_worker: float | None = None
    chance: Random = field(default_factory=lambda: Random(0))
    kills: float = 0.0
    """How often a job is killed on its way."""
    shared: bool = True
    before: Callable[[], None] = lambda: None
    out: dict[object, Task] = field(default_factory=dict)
    avoided: list[str] = field(default_factory=list)
    measured: int = 0

    def start(self) -> Room:
        self.room = Room(self.workers or 2, 1, 0.0)
        return self.room

    def send(self, task: Task, avoid: str = "") -> None:
        self.avoided.append(avoid)
        assert len(self.out) < self.room.workers
        self.out[object()] = task

    def arrived(self, seconds: float) -> list[tuple[Task, Outcome]]:
        self.before()
        task = self.out.pop(self.chance.choice(list(self.out)))
        if self.shared:
            return [(task, self._ran(task, task.folder, b""))]
        with TemporaryDirectory() as own:
            scores = Path(own) / f"{task.job.name}.jsonl"
            unpack(task.begun, scores)
            outcome = self._ran(task, Path(own), b"there")
            return [(task, outcome)]

    def _ran(self, task: Task, folder: Path, packed: bytes) -> Outcome:
        scores, found = folder / f"{task.job.name}.jsonl", []
        for result in measure(scores, task.job.saes):
            found.append(result)
            self.measured += 1
            if self.chance.random() < self.kills:
                return Outcome(task.job, -9, "killed", (), "node-1", 1.0, packed and pack(scores))
        return Outcome(task.job, 0, "", tuple(found), "node-2", 1.0, packed and pack(scores))

    def close(self) -> None:
        self.out.clear()
