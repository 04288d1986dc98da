"""A sweep from its names to its exit code."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from tabulate import tabulate

from saebench.catalogue.registry import resolve_all
from saebench.catalogue.spec import SAESpec
from saebench.record.naming import shown
from saebench.sweep.asked import Asked
from saebench.sweep.collecting import collected
from saebench.sweep.downloads import downloads
from saebench.sweep.driver import Driver
from saebench.sweep.engine import Cluster, check_installed, cores
from saebench.sweep.held import begun, held
from saebench.sweep.joining import Joiner, leftovers
from saebench.sweep.ledger import Ledger
from saebench.sweep.plan import Plan, plan, rows, told
from saebench.sweep.telling import MOST, Progress, code_of, failures

Say = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What was asked for at the command line."""

    patterns: Sequence[str]
    asked: Asked
    folder: Path
    address: str | None = None
    workers: int | None = None
    gpus_per_worker: float | None = None
    retries: int = 2
    plan: bool = False

    @property
    def jobs(self) -> Path:
        return self.folder / "jobs"

    @property
    def scores(self) -> Path:
        return self.folder / "scores.jsonl"


def sweep(request: Request, say: Say) -> int:
    """Measure what is not there yet; the exit code is that of one pytest run of all. Raises ValueError or OSError."""
    specs = resolve_all(request.patterns)
    tests = collected(request.asked, specs)
    if not any(tests.values()):
        say("no test was chosen")
        return 5
    if request.plan:
        found = _planned(request, specs, tests, request.workers or max(1, cores() // 2))
        _tell(request, specs, found, say)
        return 0
    check_installed()
    request.jobs.mkdir(parents=True, exist_ok=True)
    with _alone(request.folder):
        return _swept(request, specs, tests, say)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two sweeps at once would plan the same jobs. The lock ends with its process, however that ends."""
    try:
        with FileLock(folder / "sweep.lock", timeout=0):
            yield
    except Timeout:
        raise ValueError(
            f"--to {folder}: another sweep is writing there: wait for its end, or name another folder"
        ) from None


def _planned(request: Request, specs: Sequence[SAESpec], tests: dict[str, list[str]], workers: int) -> Plan:
    ledger = Ledger(request.jobs / "done.txt").read()
    # A name of its own: what a worker of a sweep that was killed still writes is then none of this one's.
    prefix = f"{uuid.uuid4().hex[:6]}-"
    return plan(request.asked, specs, tests, held(request.scores), ledger, workers, prefix)


def _tell(request: Request, specs: Sequence[SAESpec], found: Plan, say: Say) -> None:
    left = set(found.saes)
    for line in told(found, downloads(request.asked, [spec for spec in specs if spec.name in left])):
        say(line)
    if request.plan and found.jobs:
        say(
            tabulate(
                rows(found.jobs), ["job", "model", "hook", "SAEs", "about"], tablefmt="simple", disable_numparse=True
            )
        )


def _swept(request: Request, specs: Sequence[SAESpec], tests: dict[str, list[str]], say: Say) -> int:
    joiner = Joiner(request.scores)
    _join_leftovers(request, joiner, say)
    cluster = Cluster(request.address, request.workers, request.gpus_per_worker)
    try:
        room = cluster.start()
        found = _planned(request, specs, tests, room.workers)
        _tell(request, specs, found, say)
        driver = Driver(
            request.asked, found, request.jobs.resolve(), begun(request.scores, set(found.saes)), cluster, room, joiner,
            Ledger(request.jobs / "done.txt"), Progress(found.jobs, room.workers), request.retries,
        )  # fmt: skip
        driver.run()
    except KeyboardInterrupt:
        say("interrupted; what was measured is kept, and the same command goes on")
        return 2
    finally:
        cluster.close()
        _join_leftovers(request, joiner, say)
    return _ended(request, driver, say)


def _join_leftovers(request: Request, joiner: Joiner, say: Say) -> None:
    """Join what another driver, or this one, did not come to."""
    files = [path for path in leftovers(request.jobs) if path not in joiner.refused]
    for path in files:
        joiner.add(path)
    if files and (joined := joiner.join()):
        say(f"{len(joined)} scores files of jobs that were stopped are joined")


def _ended(request: Request, driver: Driver, say: Say) -> int:
    """What there is now, what failed, and the exit code."""
    wrong = failures(driver.outcomes, {str(path): sentence for path, sentence in driver.joiner.refused.items()})
    now = held(request.scores)
    again = sum(driver.tries.values())
    tried = f"; {again} times a job was tried again" if again else ""
    say(f"{request.scores}: {now.scores.total()} scores of {len(now.scores)} SAEs{tried}")
    if wrong:
        cells = [[shown(cell) for cell in row] for row in wrong[:MOST]]
        say(tabulate(cells, ["SAE", "tests", "what failed"], tablefmt="simple", disable_numparse=True))
    if len(wrong) > MOST:
        say(f"... and {len(wrong) - MOST} more, in the logs in {request.jobs}")
    return code_of(driver.outcomes, bool(wrong))
