"""What lies behind one SAE's scores, as tables of text and charts that the page draws."""

from collections.abc import Mapping, Sequence
from typing import Any

from saebench.boards import decompositions as apart
from saebench.boards.carriers import HEADER, carrier_rows
from saebench.boards.pictures import CURVE, RESPONSES, RETENTION, position_chart, response_charts
from saebench.boards.plot import Spec
from saebench.record.naming import natural, shown
from saebench.record.score import Score
from saebench.record.store import Store
from saebench.record.wording import DASH, number

MOST_ITEMS = 60
"""Items that are listed one by one; more are summed up."""
QUANTILES = {"least": 0.0, "a quarter below": 0.25, "half below": 0.5, "three quarters below": 0.75, "most": 1.0}
Grid = dict[str, Any]
"""A table: `title`, `header` (text), `rows` (lists of text), and perhaps `hints`, a text that is shown over each row."""
MOST_APART = 12
"""Latents whose decomposition is on the page."""
Scores = Mapping[str, Score]
"""One SAE's scores by the name of their column."""
Listed = dict[str, dict[str, str]]
"""Cells by item and column."""


def grids(store: Store, scores: Scores) -> list[Grid]:
    """Tables of the items of one SAE's scores: values by letter, spread over documents, who fires in place of whom."""
    by_unit: dict[str, Listed] = {}
    spread: list[list[str]] = []
    for column, score in scores.items():
        names, values = _contributions(store.load_items(score))
        if names and len(names) <= MOST_ITEMS:
            for name, value in zip(names, values, strict=True):
                by_unit.setdefault(score.n_unit or "item", {}).setdefault(name, {})[column] = number(value)
        elif values:
            spread.append([column, f"{len(values)} {score.n_unit}s", *_quantiles(values)])
    found = [_by_item(unit, cells, list(scores)) for unit, cells in by_unit.items()]
    if spread:
        found.append({"title": "Spread over items", "header": ["score", "items", *QUANTILES], "rows": spread})
    return found + _carriers(store, list(scores.values())) + _apart(store, list(scores.values()))


def charts(store: Store, scores: Sequence[Score]) -> list[Spec]:
    """Curves of one SAE: KL by position, and the model's response to features and fakes."""
    found: list[Spec] = []
    for score in scores:
        if score.property == RETENTION and score.items:
            found.append(position_chart([(score.sae, store.load_items(score, *CURVE))], "KL by position"))
        if score.property == RESPONSES and score.items:
            found += response_charts(store.load_items(score))
    return found


def _contributions(items: Mapping[str, Any]) -> tuple[list[str], list[float]]:
    """Names of items, empty where they are only numbered, and one value for each."""
    values = items.get("value", items.get("contribution"))
    if values is None or values.dtype.kind not in "fiu" or values.ndim != 1:
        return [], []
    names = items.get("concept", items.get("item"))
    named = [shown(str(name)) for name in names] if names is not None and len(names) == len(values) else []
    return named, values.tolist()


def _by_item(unit: str, cells: Listed, columns: Sequence[str]) -> Grid:
    used = [column for column in columns if any(column in row for row in cells.values())]
    rows = [[name, *(cells[name].get(column, DASH) for column in used)] for name in sorted(cells, key=natural)]
    return {"title": f"By {unit}", "header": [unit, *used], "rows": rows}


def _quantiles(values: Sequence[float]) -> list[str]:
    ordered = sorted(values)
    return [number(ordered[round(share * (len(ordered) - 1))]) for share in QUANTILES.values()]


def _carriers(store: Store, scores: Sequence[Score]) -> list[Grid]:
    rows = carrier_rows(store, scores)
    if rows is None:
        return []
    title = "Absorbed words" if rows else "Absorbed words: none is fully absorbed by one latent"
    return [{"title": title, "header": list(HEADER), "rows": rows}]


def _apart(store: Store, scores: Sequence[Score]) -> list[Grid]:
    """A table for each of some latents: what its feature is made of, with the phrases as hints."""
    found = apart.decompositions(store, scores)
    return [
        {
            "title": one.title, "header": apart.HEADER, "rows": [part.cells for part in one.parts],
            "hints": [part.hint for part in one.parts],
        }
        for one in found[:MOST_APART]
    ]  # fmt: skip
