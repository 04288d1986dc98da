"""Floors and ceilings of scores, as marginal structure has measured them, for the leaderboard."""

from collections.abc import Mapping, Sequence

from saebench.gate import number
from saebench.score import Score

DASH = "—"
KNOWN = ("score", "best_control", "score_ceiling")


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
    if "best_control" not in controls:
        return [DASH] * len(KNOWN)
    value, best, ceiling = (controls[name] for name in KNOWN)
    names = [name for name, other in controls.items() if other == best and name not in KNOWN]
    return [number(value), f"{number(best)} {', '.join(names)}".strip(), number(ceiling)]
