"""Memory of a run over many SAEs, SAE by SAE: what belongs to one must not outlive it.

`python benchmarks/memory.py [--suite NAME] [SAE …]` runs all suites, or those that are named, at `smoke`, and prints
gigabytes in use at the end of each SAE, and the peak, as JSON. A name may be a pattern, as it may be for `--sae`; without
names, ten SAEs of the embedded model.
"""

import argparse
import gc
import json
import resource
from typing import Any

import psutil
import pytest
from scoring import score

SAES = (
    "topk-16", "batchtopk-16", "standard-16", "gated-16", "jumprelu-16", "matryoshka-16", "topk-32", "standard-32",
    "batchtopk-16-seed1", "topk-16-wide",
)  # fmt: skip


class PerSAE:
    """Reads the memory in use when the first test of the next SAE begins, and at the end."""

    def __init__(self) -> None:
        self.used: dict[str, float] = {}
        self.now = ""

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        name = item.callspec.params["sae"].name if hasattr(item, "callspec") else ""
        if name != self.now:
            self.read()
            self.now = name

    def read(self) -> None:
        if self.now:
            gc.collect()
            self.used[self.now] = round(psutil.Process().memory_info().rss / 1e9, 3)


def main(saes: list[str], suites: list[str]) -> dict[str, Any]:
    plugin = PerSAE()
    score(suites, saes, "smoke", plugin)
    plugin.read()
    return {"used": plugin.used, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("saes", nargs="*", default=[f"organism/{name}" for name in SAES])
    parser.add_argument("--suite", action="append", help="such as reconstruction; all of them if none is named")
    given = parser.parse_args()
    print(json.dumps(main(list(given.saes), given.suite or [])))
