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
from saebench.sweep.engine import Cluster, check_installed, check_reachable, cores
from saebench.sweep.held import begun, held
from saebench.sweep.joining import Joiner, leftovers, tidy
from saebench.sweep.ledger import Ledger
from saebench.sweep.plan import Left, Plan, left, plan, rows, told
from saebench.sweep.telling import MOST, Progress, code_of, failures
from saebench.sweep.worker import Outcome

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
    def done(self) -> Path:
        return self.jobs / "done.txt"

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
        _tell(request, specs, _planned(_left(request, specs, tests), request.workers or max(1, cores() // 2)), say)
        return 0
    check_installed()
    check_reachable(request.address)
    request.jobs.mkdir(parents=True, exist_ok=True)
    with _alone(request.folder):
        return _swept(request, specs, tests, say)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two sweeps at once would plan the same jobs. The lock ends with its process, however that ends."""
    advice = "wait for its end, or name another folder"
    try:
        with FileLock(folder / "sweep.lock", timeout=0):
            yield
    except Timeout:
        raise ValueError(f"--to {folder}: another sweep is writing there: {advice}") from None


def _left(request: Request, specs: Sequence[SAESpec], tests: dict[str, list[str]]) -> Left:
    return left(request.asked, specs, tests, held(request.scores), Ledger(request.done).read())


def _planned(found: Left, workers: int) -> Plan:
    # Names of their own: what a worker of a sweep that was killed still writes is then none of this one's.
    return plan(found, workers, f"{uuid.uuid4().hex[:6]}-")


def _tell(request: Request, specs: Sequence[SAESpec], found: Plan, say: Say) -> None:
    """What will be done; with `--plan`, job by job."""
    names = {one.sae for one in found.left.wanted}
    for line in told(found, downloads(request.asked, [spec for spec in specs if spec.name in names])):
        say(line)
    if request.plan and found.jobs:
        header = ["job", "model", "hook", "SAEs", "about"]
        say(tabulate(rows(found.jobs), header, tablefmt="simple", disable_numparse=True))


def _swept(request: Request, specs: Sequence[SAESpec], tests: dict[str, list[str]], say: Say) -> int:
    joiner = Joiner(request.scores)
    tidy(request.folder)
    _join_leftovers(request, joiner, say)
    found = _left(request, specs, tests)
    if not found.wanted:
        _tell(request, specs, _planned(found, 1), say)
        return _ended(request, [], joiner, 0, say)
    cluster = Cluster(request.address, request.workers, request.gpus_per_worker)
    try:
        jobs = _planned(found, cluster.start().workers)
        _tell(request, specs, jobs, say)
        driver = _driver(request, jobs, cluster, joiner)
        driver.run()
    except KeyboardInterrupt:
        say("interrupted; what was measured is kept, and the same command goes on")
        return 2
    finally:
        cluster.close()
        _join_leftovers(request, joiner, say)
    return _ended(request, driver.outcomes, joiner, driver.tries.total(), say)


def _driver(request: Request, plan: Plan, cluster: Cluster, joiner: Joiner) -> Driver:
    scores = begun(request.scores, {one.sae for one in plan.left.wanted})
    progress = Progress(plan.jobs, plan.workers)
    ledger = Ledger(request.done)
    room = cluster.room
    return Driver(
        request.asked, plan, request.jobs.resolve(), scores, cluster, room, joiner, ledger, progress, request.retries
    )


def _join_leftovers(request: Request, joiner: Joiner, say: Say) -> None:
    """Join what another driver, or this one, did not come to."""
    files = [path for path in leftovers(request.jobs) if path not in joiner.refused]
    for path in files:
        joiner.add(path)
    if files and (joined := joiner.join()):
        say(f"{len(joined)} scores files of jobs that were stopped are joined")


def _ended(request: Request, outcomes: Sequence[Outcome], joiner: Joiner, again: int, say: Say) -> int:
    """What there is now, what failed, and the exit code."""
    wrong = failures(outcomes, {str(path): sentence for path, sentence in joiner.refused.items()})
    now = held(request.scores)
    tried = f"; {again} times a job was tried again" if again else ""
    say(f"{request.scores}: {now.scores.total()} scores of {len(now.scores)} SAEs{tried}")
    if wrong:
        cells = [[shown(cell) for cell in row] for row in wrong[:MOST]]
        say(tabulate(cells, ["SAE", "tests", "what failed"], tablefmt="simple", disable_numparse=True))
    if len(wrong) > MOST:
        say(f"... and {len(wrong) - MOST} more, in the logs in {request.jobs}")
    return code_of(outcomes, bool(wrong))
