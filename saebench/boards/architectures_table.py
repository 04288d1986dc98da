"""New architectures beside those of the baseline's file, each at its own L0: the last table of such a run."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tabulate import tabulate

from saebench.catalogue.architectures import trained_as
from saebench.compare.at_l0 import Matched, baseline_at
from saebench.compare.differences import computable
from saebench.record.naming import shown_lines
from saebench.record.score import Score
from saebench.record.wording import DASH, with_interval
from saebench.stats.statistics import CONFIDENCE

FEWEST_SAES = 3
"""SAEs that an interval needs."""


@dataclass(frozen=True)
class Mean:
    """Mean difference of SAEs from a baseline at the same L0, with its 95% interval; positive is better."""

    value: float
    half: float

    @property
    def word(self) -> str:
        return "same" if abs(self.value) <= self.half else "better" if self.value > 0 else "worse"

    def __str__(self) -> str:
        sign = "+" if self.value > 0 else ""
        return f"{sign}{with_interval(self.value, self.half)} {self.word}"


def architectures_table(scores: Sequence[Score], baseline: object) -> list[str]:
    """Lines of the table; none where the run was not compared with architectures."""
    return shown_lines(table(scores, baseline)).splitlines() if isinstance(baseline, Matched) else []


def table(scores: Sequence[Score], baseline: Matched) -> str:
    """Rows are properties, columns the baseline's architectures; one part per new architecture.

    A cell is the mean over its SAEs of how much better they are than the architecture at the same L0, with the interval
    of Student's t over these differences, and what it says. Empty where nothing could be compared.
    """
    trained: dict[str, list[Score]] = {}
    for score in scores:
        if score.seed == 0 and score.better != "neither" and (name := trained_as(score.sae)):
            trained.setdefault(name, []).append(score)
    parts = [_part(name, found, baseline) for name, found in trained.items()]
    return "\n".join(part for part in parts if part)


def _part(name: str, scores: Sequence[Score], baseline: Matched) -> str:
    rows = dict.fromkeys((score.property, tuple(score.params.items())) for score in scores)
    cells = [
        [_cell([s for s in scores if (s.property, tuple(s.params.items())) == row], baseline, other) for other in baseline.architectures]
        for row in rows
    ]  # fmt: skip
    made = [[_title(row), *map(_shown, found)] for row, found in zip(rows, cells, strict=True) if any(found)]
    if not made:
        return ""
    header = [f"{name}, at the same L0 as", *baseline.architectures]
    told = sum(mean is not None for found in cells for mean in found)
    chance = f"Of these {told} intervals, {(1 - CONFIDENCE) * told:.1f} would by chance say better or worse of equals."
    return f"{tabulate(made, header, disable_numparse=True)}\n+ is better, mean over SAEs ± 95%. {chance}"


def _cell(scores: Sequence[Score], baseline: Matched, architecture: str) -> Mean | None:
    """None where fewer than three SAEs could be compared."""
    found = [
        (score, baseline_at(score, baseline.same(score), architecture)) for score in scores if score.value is not None
    ]
    each = [
        (score.value or 0.0) - (other.value or 0.0) if score.better == "higher" else (other.value or 0.0) - (score.value or 0.0)
        for score, other in found if isinstance(other, Score) and computable(score)
    ]  # fmt: skip
    return _mean(each) if len(each) >= FEWEST_SAES else None


def _mean(each: Sequence[float]) -> Mean:
    from scipy.stats import t

    n = len(each)
    return Mean(float(np.mean(each)), float(t.ppf((1 + CONFIDENCE) / 2, n - 1) * np.std(each, ddof=1)) / n**0.5)


def _shown(mean: Mean | None) -> str:
    return DASH if mean is None else str(mean)


def _title(row: tuple[str, tuple[tuple[str, object], ...]]) -> str:
    name, params = row
    shown = ", ".join(str(value) for key, value in params if key != "machine")
    return f"{name} ({shown})" if shown else name
