"""Ray, and all that is said to it: a cluster is joined or started, tasks go out, outcomes come back."""

import importlib.util
import os
import random
import socket
from dataclasses import dataclass, field, replace
from typing import Any

from saebench.record.naming import shown
from saebench.sweep.worker import THREADS, Outcome, Task, work

MISSING = "saebench sweep runs on Ray, which is not installed: pip install 'pytest-saebench[ray]'"
PATIENCE = 10.0
"""Seconds after which an address does not answer."""
OBJECTS = 100_000_000
"""Bytes of a local cluster's object store: its workers see the driver's folder, and send nothing but results."""


@dataclass(frozen=True)
class Room:
    """How many jobs run at once, and what each of them has."""

    workers: int
    cores: int
    gpus: float
    threads: int = 1
    """Of torch and NumPy: as many as cores, unless OMP_NUM_THREADS was set."""


def check_reachable(address: str | None) -> None:
    """Raise ValueError where nobody listens at HOST:PORT: Ray itself would try for minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if not colon:  # none, or a word as `auto`
        return
    if not port.isdigit():
        raise ValueError(f"--ray {address}: expected auto, HOST:PORT or ray://HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise ValueError(f"--ray {address}: no cluster answers there: {error}") from None


def check_installed() -> None:
    if importlib.util.find_spec("ray") is None:
        raise ValueError(MISSING)


def room(count: int, gpus: float, least: int, *, workers: int | None, gpus_per_worker: float | None) -> Room:
    """Of a cluster's cores and GPUs, and the cores of its smallest machine. Raises ValueError where too much is asked for."""
    share = gpus_per_worker if gpus_per_worker is not None else (1.0 if gpus >= 1 else 0.0)
    if share > gpus:
        raise ValueError(f"--gpus-per-worker {share:g}: there are {gpus:g} GPUs")
    most = int(gpus / share + 1e-9) if share else max(1, count // 2)
    chosen = workers or most
    cores = max(1, min(count // chosen, least))
    return Room(chosen, cores, share, cores)


@dataclass
class Cluster:
    """Jobs that are out, on a cluster that is joined at an address, or started here where there is none."""

    address: str | None
    workers: int | None
    gpus_per_worker: float | None
    out: dict[Any, Task] = field(default_factory=dict)

    def start(self) -> Room:
        """Join or start it, and say what there is room for."""
        import ray

        said = os.environ.get(THREADS, "")  # before Ray says something else
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        more: dict[str, Any] = {"address": self.address}
        if self.address is None:
            begun = self.workers or max(1, cores() // 2)
            more = {"address": "local", "num_cpus": begun, "include_dashboard": False, "object_store_memory": OBJECTS}
        try:
            ray.init(**more, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
            what = f"--ray {self.address}: no cluster can be joined there" if self.address else "Ray cannot start here"
            raise ValueError(f"{what}: {shown(str(error), 200)}") from None
        found = self._room()
        self.room = replace(found, threads=int(said)) if said.isdecimal() else found
        return self.room

    def _room(self) -> Room:
        import ray

        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        # A local cluster's cores are as many as workers were asked for.
        counts = [int(node.get("CPU", 0)) for node in nodes] if self.address else [cores()]
        gpus = sum(float(node.get("GPU", 0)) for node in nodes)
        least = min((count for count in counts if count), default=1)
        return room(sum(counts), gpus, least, workers=self.workers, gpus_per_worker=self.gpus_per_worker)

    def send(self, task: Task, avoid: str = "") -> None:
        """Give a job to a worker, on another machine than one of a name if there is one."""
        import ray

        # Of a local cluster no cores are asked: the driver sends no more than there are workers. It tries again itself.
        cores = self.room.cores if self.address else 0
        chosen: dict[str, Any] = {"num_cpus": cores, "num_gpus": self.room.gpus, "max_retries": 0}
        if (other := self._other(avoid)) is not None:
            chosen["scheduling_strategy"] = other
        self.out[ray.remote(work).options(**chosen).remote(task)] = task

    def _other(self, avoid: str) -> Any:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        if not avoid:
            return None
        alive = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= self.room.cores]
        others = [node["NodeID"] for node in alive if node["NodeManagerHostname"] != avoid]
        return NodeAffinitySchedulingStrategy(random.choice(others), soft=True) if others else None

    def arrived(self, seconds: float) -> list[tuple[Task, Outcome]]:
        """What has come back, after a wait at most."""
        import ray

        ready, _ = ray.wait(list(self.out), num_returns=1, timeout=seconds)
        return [(task := self.out.pop(each), _outcome(each, task)) for each in ready]

    def close(self) -> None:
        """Leave the cluster, or end it if it was started here; what is out ends with it."""
        import ray

        ray.shutdown()


def _outcome(reference: Any, task: Task) -> Outcome:
    import ray

    try:
        found: Outcome = ray.get(reference)
    except ray.exceptions.RayError as error:
        why = getattr(error, "cause", None) or type(error).__name__
        return Outcome(task.job, -9, shown(f"its worker was lost: {why}"))
    return found


def cores() -> int:
    """Of this machine, as far as they are this process's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
