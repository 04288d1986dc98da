"""All that the page of a leaderboard shows, as JSON: numbers for its axes, and text as it is read."""

from collections.abc import Mapping, Sequence
from typing import Any

from saebench.boards.board import Table, by_model, tables
from saebench.boards.board_notes import grouped
from saebench.boards.first_screen import summarised
from saebench.boards.page_items import charts, grids
from saebench.boards.page_pairs import MOST_SAES, Pair, chosen, pairs
from saebench.boards.plot import CONFIG, coordinate
from saebench.boards.scatter import drawable, kind, looks
from saebench.compare.contrasts import Compare, unpaired
from saebench.compare.pareto import front_of
from saebench.compare.ranking import ranks
from saebench.record.columns import Column, current_scores
from saebench.record.naming import shown, shown_model
from saebench.record.score import Score
from saebench.record.store import Store
from saebench.record.wording import number, with_interval

Json = dict[str, Any]
CHARTS: Json = {
    **CONFIG, "aria": True, "padding": 4, "axis": {**CONFIG["axis"], "labelFontSize": 14, "titleFontSize": 14},
    "legend": {**CONFIG["legend"], "orient": "bottom", "columns": 1, "labelFontSize": 14}, "text": {"fontSize": 14},
}  # fmt: skip
"""As in pictures, but larger, since a phone does not enlarge them, and told to screen readers."""

LARGE = (
    f"There are more than {MOST_SAES} SAEs: what lies behind their scores is not on this page, `saebench show SAE` has it,"
    " and two of them are compared by `saebench compare FILE:SAE FILE:SAE`."
)


def page_data(
    store: Store, scores: Sequence[Score], *, title: str, questions: Mapping[str, str] | None = None,
    defined: Mapping[str, str] | None = None, failing: Mapping[str, Sequence[str]] | None = None,
    headlines: Sequence[str] = (), compare: Compare = unpaired,
) -> Json:  # fmt: skip
    """Models, and of each its columns and SAEs, whose cells stand in the order of the columns.

    The mappings are those of `leaderboard.render`.
    """
    current = current_scores(scores)
    families = dict.fromkeys(score.property.partition(".")[0] for score in current)
    return {
        "title": shown(title), "config": CHARTS,
        "looks": {name: {"colour": colour, "shape": shape} for name, (colour, shape) in looks(current).items()},
        "questions": {shown(family): (questions or {}).get(family, "") for family in families},
        "models": [_model(store, of_model, defined or {}, failing or {}, headlines, compare) for of_model in by_model(current).values()],
        **({"notes": [LARGE]} if any(_large(of_model) for of_model in by_model(current).values()) else {}),
    }  # fmt: skip


def _large(scores: Sequence[Score]) -> bool:
    return len({score.sae for score in scores}) > MOST_SAES


def _model(
    store: Store, scores: Sequence[Score], defined: Mapping[str, str], failing: Mapping[str, Sequence[str]],
    headlines: Sequence[str], compare: Compare,
) -> Json:  # fmt: skip
    found = tables(scores)
    places = [(table, column) for table in found for column in table.columns]
    columns, first = [column for _, column in places], summarised(found, headlines)
    leading = [columns.index(column) for column in first.columns] if first else []
    marks = {column: _marks(table.column(column), compare) for table, column in places}
    names = found[0].rows
    return {
        "name": shown(shown_model(scores[0].model)),
        "first": leading,
        "reasons": _reasons(first) if first else [],
        "pairs": _pairs(found[0], columns, leading, compare),
        "columns": [_column(table, column, defined, failing) for table, column in places],
        "saes": [_sae(store, name, found[0].cells.of_row[name], found, marks) for name in names],
    }


def _reasons(first: Table) -> list[Json]:
    """Why cells of the first table are empty, and how many each reason holds for."""
    empty = [(row, column) for column in first.columns for row in first.rows if first.missing(row, column)]
    groups = grouped(empty, lambda cell: first.missing(*cell) or "")
    return [{"why": shown(reason), "count": len(cells)} for reason, cells in groups]


def _pairs(
    table: Table, columns: Sequence[Column], leading: Sequence[int], compare: Compare
) -> list[list[Pair] | None]:
    """Per column the differences of any two SAEs; None where it is not ranked, or there would be too many."""
    kept = chosen(columns, leading, len(table.saes))
    ranked = [place in kept and table.column(c)[0].better != "neither" for place, c in enumerate(columns)]
    return [pairs(table, c, compare) if own else None for c, own in zip(columns, ranked, strict=True)]


def _column(table: Table, column: Column, defined: Mapping[str, str], failing: Mapping[str, Sequence[str]]) -> Json:
    score = table.column(column)[0]
    short = table.short(column)
    return {
        "group": shown(table.name), "family": shown(table.family), "name": shown(short), "better": score.better,
        "unit": shown(score.unit), "version": score.version, "definition": defined.get(column.name, ""), "fails": ", ".join(failing.get(column.name, ())),
    }  # fmt: skip


def _sae(
    store: Store, name: str, scores: list[Score], found: Sequence[Table], marks: Mapping[Column, Mapping[str, Json]]
) -> Json:
    first = scores[0]
    l0, fvu, width = (_first(scores, field) for field in ("l0", "fvu", "d_sae"))
    return {
        "name": shown(name), "kind": kind(first), "control": first.control, "facts": found[0].facts(name),
        "axes": {"l0": coordinate(l0), "fvu": coordinate(fvu), "width": width},
        "reads": shown(f"{first.hook} of {shown_model(first.model)}"), "texts": sorted({shown(corpus) for corpus in {score.corpus for score in scores}}),
        "cells": [
            _cell(table, name, column) | marks[column].get(name, {}) for table in found for column in table.columns
        ],
        "items": _items(store, name, found) if len(found[0].rows) <= MOST_SAES else {},
    }  # fmt: skip


def _first(scores: Sequence[Score], field: str) -> Any:
    return next((value for score in scores if (value := getattr(score, field)) is not None), None)


def _marks(scores: Sequence[Score], compare: Compare) -> dict[str, Json]:
    """Rank and place on the Pareto front of each SAE of a column."""
    ranked = {name: {"rank": rank} for name, rank in ranks(scores, compare).items()}
    ahead = {score.sae for score, _ in front_of(drawable(scores))}
    return {score.sae: ranked.get(score.sae, {}) | ({"front": True} if score.sae in ahead else {}) for score in scores}


def _cell(table: Table, name: str, column: Column) -> Json:
    if reason := table.missing(name, column):
        return {"why": shown(reason)}
    score = table.cells[name, column]
    ends = {"value": score.value, "low": score.ci_low, "high": score.ci_high}
    known = {"floor": score.floor, "ceiling": score.ceiling}
    cell = {
        "text": with_interval(score.value or 0.0, score.half_width() or 0.0),
        "n": f"{score.n} {score.n_unit}s" if score.n_unit else str(score.n),
        **{name: coordinate(value) for name, value in ends.items()},
        **{name: number(value) for name, value in known.items() if value is not None},
    }
    controls = ", ".join(f"{shown(other)} {number(value)}" for other, value in sorted(score.controls.items()))
    return cell | ({"controls": controls} if controls else {})


def _items(store: Store, name: str, found: Sequence[Table]) -> dict[str, Json]:
    """Tables and charts by the group of columns that they are about."""
    items = {}
    for table in found:
        scores = {table.short(c): score for c in table.columns if (score := table.cells.get((name, c)))}
        about = {"tables": grids(store, scores), "charts": charts(store, list(scores.values()))}
        if any(about.values()):
            items[shown(table.name)] = about
    return items
