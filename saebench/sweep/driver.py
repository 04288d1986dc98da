"""The loop of a sweep: jobs go out, outcomes come back, scores are joined, and what was killed is tried again."""

import uuid
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from saebench.record.score import Score
from saebench.sweep.asked import Asked
from saebench.sweep.engine import Room
from saebench.sweep.held import start
from saebench.sweep.joining import DRIVER, Joiner
from saebench.sweep.ledger import Ledger
from saebench.sweep.packing import pack, unpack
from saebench.sweep.plan import Plan
from saebench.sweep.planning import Job
from saebench.sweep.telling import Progress
from saebench.sweep.worker import Outcome, Task

TICK = 2.0
"""Seconds after which it looks whether something is to be joined, though nothing came back."""


class Engine(Protocol):
    """What runs jobs: Ray, or a stand-in of tests."""

    out: dict[object, Task]

    def send(self, task: Task, avoid: str = "") -> None: ...
    def arrived(self, seconds: float) -> list[tuple[Task, Outcome]]: ...


@dataclass
class Driver:
    """Of one sweep. All that it knows is on disk too: it may be killed at any moment."""

    asked: Asked
    plan: Plan
    folder: Path
    begun: dict[str, list[Score]]
    """Scores of SAEs that are not done, by which their jobs go on where another run stopped."""
    engine: Engine
    room: Room
    joiner: Joiner
    ledger: Ledger
    progress: Progress
    retries: int
    tries: Counter[str] = field(default_factory=Counter)
    outcomes: list[Outcome] = field(default_factory=list)

    def run(self) -> None:
        """Until every job has come to an end. Raises OSError where scores cannot be kept."""
        token = self.folder / f"{DRIVER}{uuid.uuid4().hex}"
        token.touch()
        self.progress.begin()
        try:
            self._loop(token.name)
        finally:
            token.unlink(missing_ok=True)
        self._join()

    def _loop(self, token: str) -> None:
        queue = deque(self.plan.jobs)
        while queue or self.engine.out:
            while queue and len(self.engine.out) < self.room.workers:
                self._send(self._task(queue.popleft(), token))
            for task, outcome in self.engine.arrived(TICK):
                self._take(task, outcome)
            if self.joiner.due:
                self._join_if_possible()

    def _send(self, task: Task, avoid: str = "") -> None:
        self.engine.send(task, avoid)
        self.progress.sent(task.job)

    def _task(self, job: Job, token: str) -> Task:
        scores = self._scores(job)
        start(scores, [score for sae in job.saes for score in self.begun.get(sae, [])], self.joiner.target)
        return Task(job, self.asked, self.folder, token, self.room.threads, pack(scores), str(Path.cwd()))

    def _take(self, task: Task, outcome: Outcome) -> None:
        job = outcome.job
        unpack(outcome.packed, self._scores(job))
        if outcome.again and self.tries[job.name] < self.retries:
            self.tries[job.name] += 1
            self.progress.say(f"{job.name} is tried again: {outcome.sentence or 'a disk is full'}")
            self._send(self._with_begun(task), avoid=outcome.node)
            return
        self.outcomes.append(outcome)
        self.joiner.add(self._scores(job))
        self.progress.ended(outcome)

    def _with_begun(self, task: Task) -> Task:
        """The same, from where it stopped."""
        return Task(
            task.job, task.asked, task.folder, task.token, task.threads, pack(self._scores(task.job)), task.runs_in
        )

    def _scores(self, job: Job) -> Path:
        return self.folder / f"{job.name}.jsonl"

    def _join_if_possible(self) -> None:
        """The files stay where they are until it goes well; at the end it must."""
        try:
            self._join()
        except OSError as error:
            self.progress.say(f"{error}; it is tried again later")

    def _join(self) -> None:
        joined = {path.stem for path in self.joiner.join()}
        for outcome in self.outcomes:
            if outcome.job.name in joined:
                self.ledger.add(self._done(outcome))

    def _done(self, outcome: Outcome) -> list[tuple[str, str, int]]:
        """SAEs of which every test has a score and none failed; others are asked again, and find what they have."""
        if outcome.code not in (0, 1):
            return []
        rows = []
        for sae in outcome.job.saes:
            own = [result for result in outcome.results if result.sae == sae]
            fingerprint = self.plan.left.fingerprints.get(sae)
            if own and fingerprint is not None and all(one.scored and not one.failed for one in own):
                rows.append((sae, fingerprint, len(own)))
        return rows
