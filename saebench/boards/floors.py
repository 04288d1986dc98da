"""Floors and ceilings of scores: as rows of a leaderboard, and as marginal structure has measured them."""

from collections.abc import Mapping, Sequence

from saebench.record.score import Score
from saebench.record.wording import DASH, number

KNOWN = ("score", "best_control", "score_ceiling")


def reference_cell(scores: Sequence[Score], which: str) -> str:
    """`floor` or `ceiling` of a column; a range where it differs between SAEs."""
    values = {getattr(score, which) for score in scores if score.value is not None} - {None}
    ends = sorted({number(value) for value in (min(values), max(values))}, key=float) if values else [DASH]
    return " to ".join(ends)


def floor_columns(columns: Sequence[tuple[str, Sequence[Score | None]]]) -> tuple[list[str], list[list[str]]]:
    """Header and, per SAE, cells: each score that a share is of, its best control as floor, its ceiling.

    `columns` are names with the scores of all SAEs; those that are no such share are left out.
    """
    header: list[str] = []
    rows: list[list[str]] = [[] for _ in (columns[0][1] if columns else ())]
    for name, scores in columns:
        if any(score is not None and "best_control" in score.controls for score in scores):
            header += [name, "floor", "ceiling"]
            for row, score in zip(rows, scores, strict=True):
                row += _cells(score.controls if score else {})
    return header, rows


def _cells(controls: Mapping[str, float]) -> list[str]:
    if not set(KNOWN) <= set(controls):
        return [DASH] * len(KNOWN)
    value, best, ceiling = (controls[name] for name in KNOWN)
    names = [name for name, other in controls.items() if other == best and name not in KNOWN]
    return [number(value), f"{number(best)} {', '.join(names)}".strip(), number(ceiling)]
