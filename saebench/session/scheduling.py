"""What each worker of pytest-xdist runs: all tests of an SAE, since what one of them computes serves the others."""

import os
from collections.abc import Sequence
from typing import Any

from xdist.scheduler import LoadScopeScheduling

THREADS = "OMP_NUM_THREADS"


def share_cores(workers: int) -> None:
    """Let workers that are about to start not use all cores each, which takes them longer than one alone."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ.setdefault(THREADS, str(max(1, cores // workers)))


class BySAE(LoadScopeScheduling):  # type: ignore[misc]
    """A worker gets one SAE after another; where there are fewer SAEs than workers, one suite of an SAE."""

    def __init__(self, config: Any, log: Any, saes: Sequence[str]) -> None:
        super().__init__(config, log)
        self.saes = sorted(saes, key=len, reverse=True)

    def _split_scope(self, nodeid: str) -> str:
        test, _, parameters = nodeid.partition("[")
        sae = next((name for name in self.saes if f"{parameters[:-1]}-".startswith(f"{name}-")), None)
        if sae is None:
            return nodeid
        return sae if len(self.saes) >= self.numnodes else f"{test.partition('::')[0]}[{sae}]"
