"""Sweeps of which something is killed at a random moment, until the same command has gone on to the end.

`python benchmarks/killed_sweeps.py [ROUNDS] [SEED]` starts a Ray cluster of three nodes. In each round a sweep is hit once: the
pytest of a job, a Ray worker, a node, or the driver is killed, or the disk is full (a tmpfs, which only root can mount; without
it these rounds are left out). Then the same command is run until it ends well, and its scores must be those of one plain run,
none of them lost or doubled. Measuring is made up (`made_up_run.py`), and all else is real.
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import ray
from ray.cluster_utils import Cluster
from tabulate import tabulate

from saebench.record.store import Store

NODES = 3
SAES = [word for pattern in ("flat/*", "position/*") for word in ("--sae", f"toy/{pattern}")]
SUITE = """
import pytest
from made_up_run import made_up, sae

@pytest.mark.score("made_up.value", 1, "neither", "1")
@pytest.mark.parametrize("number", range(6))
def test_value(sae, made_up, record, number):
    record(made_up)
"""
FASTER: dict[str, Any] = {"health_check_period_ms": 500, "health_check_failure_threshold": 4}
"""A node that left is missed after seconds."""
MOST = 5
"""Sweeps after which a round has failed."""


@dataclass
class Round:
    kind: str
    after: int
    """Scores that are measured before something is killed."""
    sweeps: int = 0
    again: int = 0
    code: int = -1
    lost: int = 0
    doubled: int = 0
    other: int = 0
    seconds: float = 0.0

    @property
    def hit(self) -> bool:
        """Whether it was still at work, and noticed."""
        return self.sweeps > 1 or self.again > 0

    @property
    def holds(self) -> bool:
        return not (self.code or self.lost or self.doubled or self.other)


@dataclass
class Bench:
    """A cluster, a suite, and what a plain run measures."""

    folder: Path
    chance: random.Random
    cluster: Any = None
    plain: dict[str, tuple[object, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.suite = self.folder / "test_made_up.py"
        self.suite.write_text(SUITE)
        self.options = [*SAES, "--sae-budget", "smoke", "--sae-device", "cpu"]

    def start(self) -> None:
        self.cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "include_dashboard": False, "_system_config": FASTER},
        )
        for _ in range(NODES):
            self.add_node()
        plain = [sys.executable, "-m", "pytest", str(self.suite), *self.options, "-q", "-p", "no:cacheprovider"]
        subprocess.run(
            [*plain, "--sae-scores", str(self.folder / "plain.jsonl")], check=True, stdout=subprocess.DEVNULL
        )
        self.plain = {row[0]: row for row in measured(self.folder / "plain.jsonl")}
        print(f"{len(self.plain)} scores", flush=True)

    def add_node(self) -> None:
        self.cluster.add_node(num_cpus=1, object_store_memory=80_000_000)

    def sweep(self, to: Path) -> "subprocess.Popen[str]":
        command = [
            sys.executable,
            "-m",
            "saebench",
            "sweep",
            *self.options,
            "--suites",
            str(self.suite),
            "--to",
            str(to),
        ]
        return subprocess.Popen(
            [*command, "--ray", self.cluster.address, "--workers", str(NODES)],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def round(self, kind: str) -> Round:
        to = self.folder / f"{kind}-{self.chance.getrandbits(32):x}"
        to.mkdir()
        found = Round(kind, self.chance.randrange(len(self.plain)))
        begun = time.monotonic()
        if kind == "disk":
            mounted(to, self.chance.randrange(100, 700))
        HOW[kind](self, to, found)
        if kind == "disk":
            mounted(to, 64_000, "remount,")
        while found.code and found.sweeps < MOST:
            with self.sweep(to) as driver:
                self.note(to, driver, found)
        compare(found, self.plain, measured(to / "scores.jsonl"))
        if kind == "disk":
            subprocess.run(["umount", str(to)], check=True)
        found.seconds = time.monotonic() - begun
        return found

    def note(self, to: Path, driver: "subprocess.Popen[str]", found: Round) -> None:
        """Wait for its end, and keep what it said."""
        said, _ = driver.communicate()
        found.sweeps, found.code = found.sweeps + 1, driver.returncode
        found.again += said.count("is tried again")
        with (self.folder / f"{to.name}.txt").open("a") as file:
            file.write(said)
        if found.code and found.sweeps >= MOST:
            print(said, flush=True)


def kill_driver(bench: Bench, to: Path, found: Round) -> None:
    with bench.sweep(to) as driver:
        wait(bench, driver, to, found)
        driver.kill()
        bench.note(to, driver, found)


def wait(bench: Bench, driver: "subprocess.Popen[str]", to: Path, found: Round) -> None:
    """Until enough is measured, and up to half a second more, so that it is met at whatever it does then."""
    while driver.poll() is None and scores_in(to) < found.after:
        time.sleep(0.02)
    time.sleep(bench.chance.uniform(0, 0.5))


def scores_in(to: Path) -> int:
    count = 0
    for path in [to / "scores.jsonl", *to.glob("jobs/*.jsonl")]:
        try:
            count += path.read_bytes().count(b"\n")
        except OSError:
            continue
    return count


def while_it_runs(hit: Callable[[Bench, Path], bool]) -> Callable[[Bench, Path, Round], None]:
    """Hit something of a sweep as soon as it is there, and let the sweep go on."""

    def run(bench: Bench, to: Path, found: Round) -> None:
        with bench.sweep(to) as driver:
            wait(bench, driver, to, found)
            while driver.poll() is None and not hit(bench, to):
                time.sleep(0.05)
            bench.note(to, driver, found)

    return run


def runs(to: Path) -> list[psutil.Process]:
    """The pytest processes of a sweep's jobs, which are below this process as all nodes are."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            command = process.cmdline()
        except psutil.Error:
            continue
        if "pytest" in command and any(word.startswith(f"{to.resolve()}/jobs/") for word in command):
            found.append(process)
    return found


def kill_pytest(bench: Bench, to: Path) -> bool:
    found = runs(to)
    if found:
        bench.chance.choice(found).kill()
    return bool(found)


def kill_worker(bench: Bench, to: Path) -> bool:
    try:
        found = [
            parent for run in runs(to) if (parent := run.parent()) is not None and parent.name().startswith("ray::")
        ]
    except psutil.Error:
        return False
    if found:
        bench.chance.choice(found).kill()
    return bool(found)


def kill_node(bench: Bench, to: Path) -> bool:
    if not runs(to):
        return False
    bench.cluster.remove_node(bench.chance.choice(sorted(bench.cluster.worker_nodes, key=str)), allow_graceful=False)
    bench.add_node()
    return True


def fill_disk(bench: Bench, to: Path, found: Round) -> None:
    """The folder is too small from the beginning; the time says nothing."""
    with bench.sweep(to) as driver:
        bench.note(to, driver, found)


HOW: dict[str, Callable[[Bench, Path, Round], None]] = {
    "driver": kill_driver, "pytest": while_it_runs(kill_pytest), "worker": while_it_runs(kill_worker),
    "node": while_it_runs(kill_node), "disk": fill_disk,
}  # fmt: skip


def mounted(folder: Path, kilobytes: int, again: str = "") -> None:
    options = f"{again}size={kilobytes}k"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)


def measured(path: Path) -> list[tuple[str, ...]]:
    """All that is the same in every run of one measurement, with items that were read."""
    store = Store(path)
    return [
        (score.identity(), score.sae, str(score.value), str(score.ci_low), str(score.ci_high), str(score.items),
         str(store.load_items(score)["x"].tolist()))
        for score in store.read()
    ]  # fmt: skip


def compare(found: Round, plain: dict[str, tuple[object, ...]], rows: list[tuple[str, ...]]) -> None:
    names = [row[0] for row in rows]
    found.lost, found.doubled = len(set(plain) - set(names)), len(names) - len(set(names))
    found.other = sum(plain.get(row[0]) != row for row in rows)


def table(rounds: list[Round]) -> str:
    rows = []
    for kind in HOW:
        own = [one for one in rounds if one.kind == kind]
        sums = [
            sum(getattr(one, name) for one in own) for name in ("hit", "sweeps", "again", "lost", "doubled", "other")
        ]
        rows.append([kind, len(own), *sums])
    header = ["killed", "rounds", "hit", "sweeps", "jobs tried again", "scores lost", "doubled", "wrong"]
    return tabulate(rows, header, tablefmt="simple")


def main(count: int, seed: int) -> int:
    own = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    os.environ |= {"PYTHONPATH": own, "PYTEST_ADDOPTS": "-p made_up_run", "RAY_USAGE_STATS_ENABLED": "0"}
    kinds = [kind for kind in HOW if kind != "disk" or os.geteuid() == 0]
    rounds: list[Round] = []
    with TemporaryDirectory(prefix="killed-") as folder:
        bench = Bench(Path(folder), random.Random(seed))
        bench.start()
        for number in range(count):
            rounds.append(bench.round(kinds[number % len(kinds)]))
            print(f"{number + 1} of {count}:", rounds[-1], flush=True)
        bench.cluster.shutdown()
    ray.shutdown()
    print(table(rounds))
    return 0 if all(one.holds for one in rounds) else 1


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    sys.exit(main(given[0] if given else 50, given[1] if len(given) > 1 else 0))
