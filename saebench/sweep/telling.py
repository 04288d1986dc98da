"""What a sweep says while it runs, and at its end."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TextIO

from saebench.record.durations import in_words
from saebench.record.naming import shown
from saebench.sweep.planning import Job
from saebench.sweep.worker import Outcome

WIDTH = 30
MOST = 60
"""Rows of the table of what failed."""


@dataclass
class Progress:
    """One bar on a terminal, and in a log one line for each job."""

    jobs: Sequence[Job]
    workers: int
    out: TextIO | None = None
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self.file = self.out or sys.stdout
        self.left = {job.name: job.seconds for job in self.jobs}
        self.begun: dict[str, float] = {}
        self.expected = self.took = 0.0

    def begin(self) -> None:
        """An empty bar, where there is one."""
        if self.file.isatty():
            self.draw()

    def sent(self, job: Job) -> None:
        """A job is begun, or tried again."""
        self.begun[job.name] = self.clock()

    def ended(self, outcome: Outcome) -> None:
        """A job came to an end, and is not tried again."""
        self.expected += self.left.pop(outcome.job.name, 0.0)
        self.took += outcome.seconds
        self._line(outcome) if not self.file.isatty() else self.draw()

    def say(self, sentence: str) -> None:
        """Something else, above the bar."""
        clear = "\r\x1b[K" if self.file.isatty() else ""
        print(f"{clear}saebench: {shown(sentence)}", file=self.file, flush=True)
        if clear:
            self.draw()

    def draw(self) -> None:
        """Draw the bar anew; it is no more when all is done."""
        done = len(self.jobs) - len(self.left)
        filled = WIDTH * done // max(1, len(self.jobs))
        bar = f"[{'#' * filled}{'-' * (WIDTH - filled)}] {done} of {len(self.jobs)} jobs{self._rest()}"
        self.file.write(f"\r\x1b[K{bar}" if self.left else "\r\x1b[K")
        self.file.flush()

    def _line(self, outcome: Outcome) -> None:
        done, job = len(self.jobs) - len(self.left), outcome.job
        failed = sum(bool(result.failed) for result in outcome.results)
        wrong = f", {failed} tests failed" if failed else f", {outcome.sentence}" if outcome.sentence else ""
        self.say(
            f"{done} of {len(self.jobs)} jobs: {job.name} on {outcome.node or 'no machine'}, {len(job.saes)} SAEs,"
            f" {sum(result.scored for result in outcome.results)} scores, {in_words(outcome.seconds)}{wrong}{self._rest()}"
        )

    def _rest(self) -> str:
        """How long the others will take, as those that ended took longer or shorter than expected."""
        if not self.left or not self.took:
            return ""
        slower, now = self.took / max(self.expected, 1e-9), self.clock()
        rest = [max(0.0, most * slower - (now - self.begun.get(job, now))) for job, most in self.left.items()]
        return f"; about {in_words(sum(rest) / min(self.workers, len(rest)))} left"


def failures(outcomes: Sequence[Outcome], refused: dict[str, str]) -> list[list[str]]:
    """Rows of SAE or job, number of tests, and the sentence that says why; what is the same of several tests comes once."""
    found = Counter(
        (result.sae or outcome.job.name, result.failed)
        for outcome in outcomes
        for result in outcome.results
        if result.failed
    )
    rows = [[sae, str(count), sentence] for (sae, sentence), count in found.items()]
    for outcome in outcomes:
        if outcome.sentence and not any(result.failed for result in outcome.results):
            rows.append([_saes(outcome.job), "all", outcome.sentence])
    rows += [[name, "all", sentence] for name, sentence in refused.items()]
    return rows


def _saes(job: Job) -> str:
    return job.saes[0] if len(job.saes) == 1 else f"{job.saes[0]} and {len(job.saes) - 1} more ({job.name})"


def code_of(outcomes: Sequence[Outcome], failed: bool) -> int:
    """As pytest's of one run of all: 4 where no SAE could be read, 5 where there was no test."""
    codes = {outcome.code for outcome in outcomes}
    if len(codes) == 1 and codes <= {4, 5}:
        return codes.pop()
    return 1 if failed else 0
