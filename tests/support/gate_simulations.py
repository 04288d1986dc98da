"""Whole families of comparisons, simulated: how often a run is red without any change, and misses one that is planted.

`python tests/support/gate_simulations.py` prints the table for 200 runs of each kind.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from factories import make_score

from saebench.compare.differences import paired, unpaired
from saebench.compare.gate import compare
from saebench.record.score import Estimate, Score
from saebench.stats.statistics import DETECTED, ratio_of_sums
from saebench.stats.two_way import over_concepts

RUNS = 200
DOCUMENTS, CONCEPTS = 96, 23
"""As many as there are at `quick`."""
Measured = tuple[Score, Any]


@dataclass(frozen=True)
class World:
    """What both SAEs are measured on: how hard every document is, and every concept, for every property."""

    rng: np.random.Generator

    def documents(self, properties: int) -> tuple[Any, Any]:
        """(property, document) difficulty that properties share in part, skewed; and (document,) lengths."""
        common = self.rng.normal(0, 1, DOCUMENTS)
        own = self.rng.normal(0, 1, (properties, DOCUMENTS))
        return np.exp(0.5 * (0.7 * common + 0.7 * own)), self.rng.integers(30, 63, DOCUMENTS)

    def concepts(self, properties: int) -> Any:
        """(property, concept)"""
        common = self.rng.normal(0, 1, CONCEPTS)
        return 0.7 * common + 0.7 * self.rng.normal(0, 1, (properties, CONCEPTS))


def family(
    world: World, by_document: int = 22, by_concept: int = 12, apart: int = 10
) -> list[Callable[[float], Measured]]:
    """One SAE after the other on the same texts: each call measures a property of a new one, `shift` worse."""
    difficulty, lengths = world.documents(by_document)
    base = world.concepts(by_concept)
    rng = world.rng

    def of_documents(row: Any, shift: float) -> Measured:
        values = row * np.exp(rng.normal(0, 0.1, DOCUMENTS)) + shift
        return told(ratio_of_sums(values * lengths, lengths.astype(float), purpose="simulated"))

    def of_concepts(row: Any, shift: float) -> Measured:
        values = row + rng.normal(0, 0.3, CONCEPTS) + shift
        sums = {"sum": np.tile(values / 20, (20, 1)), "one": np.full((20, CONCEPTS), 1 / 20)}
        names = [f"c{i}" for i in range(CONCEPTS)]
        return told(over_concepts(sums, lambda s: s["sum"] / s["one"], purpose="simulated", concepts=names))

    def alone(shift: float) -> Measured:
        return make_score(value=float(rng.normal(0.6, 0.035)) + shift, half=0.035 * 1.96), {}

    return [
        *(lambda shift, row=row: of_documents(row, shift) for row in difficulty),
        *(lambda shift, row=row: of_concepts(row, shift) for row in base),
        *([alone] * apart),
    ]


def told(estimate: Estimate) -> Measured:
    half = (estimate.ci_high - estimate.ci_low) / 2
    return make_score(value=estimate.value, half=half, n=estimate.n, n_unit=estimate.n_unit), estimate.items


def worse(measure: Callable[[float], Measured], shifted: float, size: int, *, pairs: bool = True) -> tuple[bool, float]:
    """Whether the gate says so of a second SAE, `shifted` minimum detectable differences worse; and that difference."""
    (baseline, other), (score, items) = measure(0.0), measure(0.0)
    found = (paired(score, baseline, items, other) if pairs else None) or unpaired(score, baseline)
    least = DETECTED * found.error
    if shifted:
        score = score.model_copy(
            update={name: getattr(score, name) + shifted * least for name in ("value", "ci_low", "ci_high")}
        )
        items = {**items, "contribution": items["contribution"] + shifted * least} if items else items
        found = (paired(score, baseline, items, other) if pairs else None) or unpaired(score, baseline)
    return compare(score, baseline, 0.0, found, size).verdict == "worse", least


def red_runs(runs: int = RUNS, *, corrected: bool = True) -> float:
    """Share of runs without any change in which at least one of the family's 44 tests fails, no tolerance granted."""
    red = 0
    for run in range(runs):
        measures = family(World(np.random.default_rng(run)))
        red += any(worse(measure, 0.0, len(measures) if corrected else 1)[0] for measure in measures)
    return red / runs


def caught(runs: int = RUNS, shifted: float = 2.0) -> dict[str, float]:
    """Share of planted regressions that fail their test, by what the property is measured on."""
    kinds = {"documents": 0, "concepts": 22, "unpaired": 34}
    found = dict.fromkeys(kinds, 0)
    for run in range(runs):
        measures = family(World(np.random.default_rng(1000 + run)))
        for kind, at in kinds.items():
            found[kind] += worse(measures[at], shifted, len(measures))[0]
    return {kind: count / runs for kind, count in found.items()}


def main() -> None:
    print(f"red runs of {RUNS} without any change, 44 tests, no tolerance: {red_runs():.1%}")
    print(f"the same without a correction for so many tests: {red_runs(corrected=False):.1%}")
    for shifted in (1.0, 2.0, 3.0):
        shares = ", ".join(f"{kind} {share:.1%}" for kind, share in caught(shifted=shifted).items())
        print(f"caught of {RUNS} planted regressions of {shifted:g} minimum detectable differences: {shares}")


if __name__ == "__main__":
    main()
