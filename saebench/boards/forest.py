"""The first picture of a board: a panel per question, a row per SAE, each score with its interval."""

from collections.abc import Mapping, Sequence

from saebench.boards.board import Table
from saebench.boards.first_screen import MOST_ROWS
from saebench.boards.plot import GREY, Spec, coordinate, label, labels
from saebench.boards.scatter import DIRECTIONS, Looks, kind
from saebench.record.columns import Column
from saebench.record.score import Score

ACROSS, WIDTH, ROW = 3, 190, 17
READING = "Bars: 95% intervals. Dashed: floor and ceiling, what a useless and a perfect SAE get. No point: no score."


def forest(table: Table, look: Looks) -> Spec | None:
    """Draw the headline columns of `first_screen.summarised`; None where nothing has a score."""
    rows = table.rows[:MOST_ROWS]
    scored = {c: found for c in table.columns if (found := _scored(table, c, rows))}
    if not scored:
        return None
    names = dict(zip(rows, labels(rows), strict=True))
    panels = [
        _panel(column, found, names, look, first=place % ACROSS == 0)
        for place, (column, found) in enumerate(scored.items())
    ]
    title = {"text": "What the questions find", "subtitle": [READING], "offset": 10}
    resolve = {"scale": {"x": "independent"}}
    return {"title": title, "concat": panels, "columns": ACROSS, "resolve": resolve}


def _scored(table: Table, column: Column, rows: Sequence[str]) -> dict[str, Score]:
    found = {row: score for row in rows if (score := table.cells.get((row, column)))}
    return {row: score for row, score in found.items() if coordinate(score.value) is not None}


def _panel(column: Column, found: Mapping[str, Score], names: Mapping[str, str], look: Looks, *, first: bool) -> Spec:
    values = [
        {"name": names[row], "kind": kind(s), "x": coordinate(s.value), "low": coordinate(s.ci_low), "high": coordinate(s.ci_high)}
        for row, s in found.items()
    ]  # fmt: skip
    shown = list(names.values())
    better = next(iter(found.values())).better
    axis = {} if first else {"labels": False, "ticks": False}
    y = {"field": "name", "type": "nominal", "sort": shown, "scale": {"domain": shown}}
    x = {
        "field": "x",
        "type": "quantitative",
        "scale": {"zero": False},
        "axis": {"title": DIRECTIONS[better], "tickCount": 4},
    }
    return {
        "title": {"text": label(column.name), "fontSize": 12}, "width": WIDTH, "height": ROW * len(names),
        "data": {"values": values}, "encoding": {"y": {**y, "axis": {"title": None, "labelLimit": 260, **axis}}},
        "layer": [*_ends(list(found.values())), _bars(), _points(look, x)],
    }  # fmt: skip


def _bars() -> Spec:
    ends = {"x": {"field": "low", "type": "quantitative"}, "x2": {"field": "high"}}
    return {"mark": {"type": "rule", "color": "#555555", "opacity": 0.6}, "encoding": ends}


def _points(look: Looks, x: Spec) -> Spec:
    def coded(values: Sequence[str]) -> Spec:
        scale = {"domain": list(look), "range": list(values)}
        return {"field": "kind", "type": "nominal", "title": None, "scale": scale, "legend": {"orient": "top"}}

    colours, shapes = coded([colour for colour, _ in look.values()]), coded([shape for _, shape in look.values()])
    return {
        "mark": {"type": "point", "size": 60, "opacity": 1, "strokeWidth": 1.4},
        "encoding": {"x": x, "stroke": colours, "fill": colours, "shape": shapes},
    }


def _ends(scores: Sequence[Score]) -> list[Spec]:
    """Floor and ceiling where they are the same for all, and within reach of the scores."""
    known = [coordinate(v) for score in scores for v in (score.ci_low, score.value, score.ci_high)]
    reach = [value for value in known if value is not None]
    span = max(reach) - min(reach)
    found = []
    for name in ("floor", "ceiling"):
        at = {getattr(score, name) for score in scores}
        value = coordinate(at.pop()) if len(at) == 1 else None
        if value is not None and min(reach) - span <= value <= max(reach) + span:
            rule = {"type": "rule", "strokeDash": [4, 3], "color": GREY}
            found.append({"data": {"values": [{"x": value}]}, "mark": rule, "encoding": {"x": {"field": "x", "type": "quantitative"}, "y": None}})  # fmt: skip
    return found
