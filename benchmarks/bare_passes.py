"""What one further SAE costs, over the passes that it cannot do without.

`python benchmarks/bare_passes.py [--budget quick] [SAE …]` scores the suites below on SAEs of one hook, the first of
which makes all that belongs to the hook, and prints of each further one the CPU seconds of every suite, and their ratio
to the bare work: one pass of the layers above the hook, one unembedding, and `encode` and `decode` of the same tokens
and words. All of it in one process, on one thread, so that both sides see the same machine.
"""

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from scoring import score

from saebench.catalogue.registry import resolve
from saebench.record.budget import BUDGETS
from saebench.record.score import Unscored
from saebench.record.store import Store
from saebench.run.options import Options
from saebench.run.run import Run
from saebench.subject.activations import keep_bos

SUITES = ("reconstruction", "context_length", "first_letter", "absorption")
SAES = ("organism/topk-16", "organism/batchtopk-16", "organism/standard-16")
SETS = ("letters", "taxonomy", "attributes")
WORDS = 1024
ROUNDS = 3

Seconds = dict[str, float]


class PerSuite:
    """CPU seconds of every suite, by SAE: reading the SAE belongs to the first."""

    def __init__(self) -> None:
        self.seconds: dict[str, Seconds] = defaultdict(lambda: defaultdict(float))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        begun = time.process_time()
        found = yield
        suite = item.path.stem.removeprefix("test_")
        self.seconds[item.callspec.params["sae"].name][suite] += time.process_time() - begun
        return found


def of_suites(saes: list[str], budget: str) -> dict[str, Seconds]:
    """CPU seconds by SAE and suite."""
    plugin = PerSuite()
    score(SUITES, saes, budget, plugin)
    return {sae: dict(seconds) for sae, seconds in plugin.seconds.items()}


def bare(name: str, budget: str) -> Seconds:
    """CPU seconds of what cannot be left out, the least of some rounds."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run(resolve(name), Store(Path(folder) / "scores.jsonl"), Options(budget=budget))
        sae = run.holder.sae(run.specs[0])
        activations = run.documents.activations(sae)
        words = [found for concepts in SETS if (found := readings(run, concepts)) is not None]

        def documents() -> None:
            activations.subject.batch.over(len(activations.tokens), one_batch)

        def one_batch(rows: slice) -> None:
            clean, x = activations.clean, activations.residual[rows]
            y = sae.decode(sae.encode(x.flatten(0, 1)), x.flatten(0, 1)).view_as(activations.target[rows])
            entering = None if clean.entering is None else clean.entering[rows]
            put = keep_bos(y, activations.target[rows])
            hidden = clean.passes.spliced(activations.tokens[rows], put, entering).flatten(0, 1)
            for start in range(0, len(hidden), clean.passes.positions):
                clean.passes.logits(hidden[start : start + clean.passes.positions])

        def at_words() -> None:
            for x in words:
                for start in range(0, len(x), WORDS):
                    sae.decode(sae.encode(x[start : start + WORDS]), x[start : start + WORDS])

        return {"documents": least(documents), "words": least(at_words)}


def readings(run: Run, concepts: str) -> torch.Tensor | None:
    """(row, d) what is read of a concept set's words; None where the model cannot be asked."""
    try:
        return run.words.readings(run.specs[0], concepts).x.flatten(0, 1)
    except Unscored:
        return None


def least(work: Callable[[], None]) -> float:
    def once() -> float:
        begun = time.process_time()
        work()
        return time.process_time() - begun

    with torch.no_grad():
        return min(once() for _ in range(1 + ROUNDS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("saes", nargs="*", default=SAES)
    parser.add_argument("--budget", default="quick", choices=BUDGETS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    measured = of_suites(list(given.saes), given.budget)
    for sae in list(given.saes)[1:]:
        passes, seconds = bare(sae, given.budget), measured[sae]
        ratio = sum(seconds.values()) / sum(passes.values())
        print(json.dumps({"sae": sae, "budget": given.budget, "suites": rounded(seconds), "bare": rounded(passes), "ratio": round(ratio, 2)}))  # fmt: skip


def rounded(seconds: Seconds) -> Seconds:
    return {name: round(value, 2) for name, value in seconds.items()}


if __name__ == "__main__":
    main()
