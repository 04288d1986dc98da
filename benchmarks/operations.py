"""Operations of one further SAE, suite by suite, and what they would take on a GPU: a paper estimate, not a measurement.

`python benchmarks/operations.py [--budget quick] [SAE SAE]` counts the floating-point operations of the matrix products
of the second SAE, after the first has made what belongs to the hook, by what they are for: the SAE's own products, the
unembedding, and all else, which is layers. CPU seconds without those of the products are what a host has to do.

Both are scaled to a model of the shape of Gemma 2 2B, read in the middle, on an H200 in float32. What is assumed stands
in the constants.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from scoring import score
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from saebench.catalogue.registry import resolve
from saebench.record.budget import BUDGETS

SAES = ("organism/topk-16", "organism/batchtopk-16")
D, D_THERE = 192, 2304
N_VOCAB, N_VOCAB_THERE = 4662, 256_000
LAYERS, LAYERS_THERE = 2 * 12 * D**2, 13 * 78_000_000
"""Weights behind the hook that every token is multiplied by, here and there."""
LONGER = 8
"""Documents there have 2,048 tokens for 256, and concept sets 16,384 words for 1,975."""
WIDTHS = (16_384, 65_536)
RATE = 67e12 * 0.5
"""Operations per second: half of what an H200 does in float32."""
RATE_HERE = 60e9
"""Of one core, by which the seconds of the products are taken off."""
CORES = 8
"""Of a host, which numpy's part is spread over."""


class Counted(TorchDispatchMode):
    """Operations by what they are for."""

    def __init__(self, d_sae: int, vocabulary: int) -> None:
        super().__init__()
        self.d_sae, self.vocabulary = d_sae, vocabulary
        self.operations: dict[str, float] = defaultdict(float)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            sizes = {size for value in (*args, found) if isinstance(value, torch.Tensor) for size in value.shape}
            what = "sae" if self.d_sae in sizes else "vocabulary" if self.vocabulary in sizes else "layers"
            self.operations[what] += count(*args, **(kwargs or {}), out_val=found)
        return found


class PerSuite:
    """Operations and CPU seconds of the tests of one SAE, by suite."""

    def __init__(self, sae: str, d_sae: int, vocabulary: int) -> None:
        self.sae, self.sizes = sae, (d_sae, vocabulary)
        self.suites: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        if item.callspec.params["sae"].name != self.sae:
            return (yield)
        begun, suite = time.process_time(), self.suites[item.path.stem.removeprefix("test_")]
        with Counted(*self.sizes) as counted:
            found = yield
        suite["seconds"] += time.process_time() - begun
        for what, operations in counted.operations.items():
            suite[what] += operations
        return found


def counted(saes: list[str], budget: str) -> dict[str, dict[str, float]]:
    d_sae = resolve(saes[1])[0].d_sae
    assert d_sae is not None
    plugin = PerSuite(saes[1], d_sae, N_VOCAB)
    score((), saes, budget, plugin)
    return plugin.suites


def there(suite: dict[str, float], d_sae: int, width: int) -> dict[str, float]:
    """Seconds of the device and of its host for an SAE of a width on the larger model."""
    scales = {
        "layers": LAYERS_THERE / LAYERS, "vocabulary": N_VOCAB_THERE * D_THERE / (N_VOCAB * D),
        "sae": width * D_THERE / (d_sae * D),
    }  # fmt: skip
    operations = LONGER * sum(suite[name] * scale for name, scale in scales.items())
    products = sum(suite[name] for name in scales) / RATE_HERE
    return {"device": operations / RATE, "host": LONGER * max(suite["seconds"] - products, 0.0) / CORES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("saes", nargs="*", default=SAES)
    parser.add_argument("--budget", default="quick", choices=BUDGETS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    d_sae = resolve(given.saes[1])[0].d_sae or 0
    print(
        f"{'suite':20s} GFLOP: layers, vocabulary, sae   CPU s   " + "   ".join(f"{w}: device, host s" for w in WIDTHS)
    )
    totals: dict[int, float] = defaultdict(float)
    for name, suite in counted(list(given.saes), given.budget).items():
        row = [f"{suite[what] / 1e9:9.1f}" for what in ("layers", "vocabulary", "sae")] + [f"{suite['seconds']:7.1f}"]
        for width in WIDTHS:
            seconds = there(suite, d_sae, width)
            totals[width] += sum(seconds.values())
            row.append(f"{seconds['device']:9.1f} {seconds['host']:6.1f}")
        print(f"{name:20s}" + " ".join(row))
    print(
        json.dumps({f"hours for 200 SAEs of {width} latents": round(200 * s / 3600, 2) for width, s in totals.items()})
    )


if __name__ == "__main__":
    main()
