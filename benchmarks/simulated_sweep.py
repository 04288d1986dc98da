"""A sweep at a scale that no machine here has: 6,000 SAEs, 1,000 at each of 6 hooks, on 64 workers; nothing is measured.

`python benchmarks/simulated_sweep.py` takes durations of SAEs that published boards recorded, has the planner make jobs of what
it would expect, and runs them through a simulation in which each takes as long as was recorded: when does the last one end,
against what no plan can be faster than? Then it joins the scores of all of them, 300,000, as they would arrive, and prints
the driver's seconds, peak memory and open files. `--items` gives each score a file of items, as real ones have.
"""

import heapq
import json
import random
import resource
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

import numpy as np
import psutil
from tabulate import tabulate

from saebench.record.items import write as write_items
from saebench.record.score import Score
from saebench.record.store import Store, compacted
from saebench.sweep.held import held
from saebench.sweep.joining import Joiner
from saebench.sweep.planning import SETUP, Job, Wanted, planned

ROOT = Path(__file__).parent.parent
BOARDS = ("organism", "smollm2", "architectures")
HOOKS, WORKERS, PER_SAE = 6, 64, 50


def recorded() -> dict[str, list[Score]]:
    """Scores of each SAE of the boards that recorded how long they took."""
    found = defaultdict[str, list[Score]](list)
    for board in BOARDS:
        for score in Store(ROOT / "leaderboards" / f"{board}.jsonl").read():
            found[f"{board} {score.sae}"].append(score)
    return {name: scores for name, scores in found.items() if sum(score.seconds for score in scores) > 1}


def simulated(jobs: Sequence[Job], actual: dict[str, float], workers: int) -> tuple[float, list[tuple[float, Job]]]:
    """When the last job ends, and when each of them does: a worker that is free takes the next one."""
    free, ends = [0.0] * workers, []
    heapq.heapify(free)
    for job in jobs:
        end = heapq.heappop(free) + SETUP + sum(actual[sae] for sae in job.saes)
        heapq.heappush(free, end)
        ends.append((end, job))
    return max(free), sorted(ends, key=lambda one: one[0])


def drawn(per_hook: int, chance: random.Random) -> tuple[list[Wanted], dict[str, float]]:
    """SAEs with the durations of recorded ones; each hook has those of one board, and is expected to take its mean."""
    totals = defaultdict[str, list[float]](list)
    for name, scores in recorded().items():
        totals[name.partition(" ")[0]].append(sum(score.seconds for score in scores))
    wanted, actual = [], {}
    for hook in range(HOOKS):
        known = totals[BOARDS[hook % len(BOARDS)]]
        for number in range(per_hook):
            name = f"made-up/hook-{hook}/sae-{number}"
            actual[name] = chance.choice(known)
            wanted.append(Wanted(name, "model", f"hook-{hook}", fmean(known)))
    return wanted, actual


def bound(actual: dict[str, float], workers: int) -> float:
    """What no plan is faster than: all of it, shared without a rest, and each worker started once."""
    return max(sum(actual.values()) / workers, max(actual.values())) + SETUP


class Watch(threading.Thread):
    """The most files that this process has open."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most, self.over = 0, threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.02):
            self.most = max(self.most, psutil.Process().num_fds())


def memory() -> float:
    """Gigabytes at the peak so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2)


def write_job(folder: Path, job: Job, scores: list[Score], *, items: bool) -> Path:
    """A job's file, as its pytest leaves it."""
    path = folder / f"{job.name}.jsonl"
    rows = []
    for sae in job.saes:
        about = {"sae": sae, "sae_digest": sae, "model": "model", "model_digest": "m", "hook": job.hook, "items": None}
        for number, score in enumerate(scores[:PER_SAE]):
            if items:
                chance = np.random.default_rng([number, len(rows)])
                about["items"] = write_items(Store(path).items_dir, {"x": chance.random(100)})
            rows.append(score.model_copy(update={**about, "params": {"number": number}}))
    path.write_text(compacted(rows))
    return path


def joined(folder: Path, ends: list[tuple[float, Job]], *, items: bool) -> dict[str, object]:
    """Join all jobs' scores as they arrive, in a time in which an hour passes in a second."""
    scores = max(recorded().values(), key=len)
    (folder / "jobs").mkdir()
    waiting, watch = [], Watch()
    for _, job in ends:
        waiting.append(write_job(folder / "jobs", job, scores, items=items))
    before = memory()
    joiner, begun, seconds = Joiner(folder / "scores.jsonl"), time.monotonic(), []
    watch.start()
    for number, path in enumerate(waiting):
        joiner.add(path)
        if (number + 1) % (len(waiting) // 5) == 0 or number == len(waiting) - 1:
            start = time.monotonic()
            joiner.join()
            seconds.append(round(time.monotonic() - start, 1))
    watch.over.set()
    total, start = time.monotonic() - begun, time.monotonic()
    known = held(folder / "scores.jsonl")
    return {
        "jobs": len(waiting), "scores": known.scores.total(), "SAEs": len(known.scores), "refused": len(joiner.refused),
        "seconds of each joining": seconds, "seconds": round(total, 1), "seconds to plan by them": round(time.monotonic() - start, 1),
        "gigabytes at the peak": memory(), "before joining": before,
        "most files open": watch.most, "megabytes of scores": round((folder / "scores.jsonl").stat().st_size / 1e6),
    }  # fmt: skip


def main(*, items: bool) -> None:
    chance, rows, ends = random.Random(0), [], []
    for per_hook, workers in ((20, 8), (1000 // HOOKS, WORKERS), (1000, 16), (1000, WORKERS)):
        wanted, actual = drawn(per_hook, chance)
        jobs = planned(wanted, workers)
        last, ends = simulated(jobs, actual, workers)
        least = bound(actual, workers)
        rows.append(
            [len(wanted), workers, len(jobs), f"{last / 3600:.2f}", f"{least / 3600:.2f}", f"{last / least:.3f}"]
        )
    print(tabulate(rows, ["SAEs", "workers", "jobs", "hours", "at least", "ratio"], tablefmt="simple"), flush=True)
    with TemporaryDirectory() as folder:
        print(json.dumps(joined(Path(folder), ends, items=items), indent=1))


if __name__ == "__main__":
    main(items="--items" in sys.argv)
