"""Pictures beside a leaderboard: scores against L0, and curves from the items of scores."""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from saebench.boards.board import Table, by_model, tables
from saebench.boards.first_screen import summarised
from saebench.boards.forest import forest
from saebench.boards.markdown import escaped
from saebench.boards.plot import Series, Spec, line_chart, side_by_side, stacked, styled, svg
from saebench.boards.scatter import CONTROL, Looks, Panel, drawable, kind, looks, scatter
from saebench.boards.sealed import Sealed
from saebench.record.columns import current_scores
from saebench.record.naming import natural
from saebench.record.score import Score
from saebench.record.store import Store

MOST_LINES = 12
MOST_READ = 100
"""SAEs of an architecture whose curves say whether a chart's axis is logarithmic."""
MOST_RESPONSES = 100
"""SAEs whose response curves are drawn, a picture each; `saebench show` has the numbers of all."""
RESPONSES, RETENTION = "distinguishability.angle", "context_length.kl_retention"
CURVE = ("position", "kl")
"""Arrays that a chart of KL by position needs."""
AXES = {
    "angle": ("inactive features, turned on", "angle (degrees)"),
    "share": ("active features, turned down", "share of the feature's size"),
}
"""Title and axis of response curves, whose columns are called `AXIS:NAME`, `AXIS:NAME:low` and `AXIS:NAME:high`."""
Items = Mapping[str, Any]
Pictures = tuple[dict[str, Sealed], dict[str, str]]


def pictures(store: Store, scores: Sequence[Score], name: str) -> Pictures:
    """SVG by path beside the page `name`, and the Markdown that shows them by the table they belong to."""
    scores = current_scores(scores)
    files: dict[str, Sealed] = {}
    shown: dict[str, list[str]] = {}
    for table, spec in _scatters(scores).items():
        path = f"{name}.pictures/{_plain(table)}.svg"
        files[path] = drawing(spec)
        shown.setdefault(table, []).append(f"![{escaped(table)} against L0, with the Pareto front]({quote(path)})")
    if curves := context_length_picture(store, scores):
        path = f"{name}.pictures/kl_by_position.svg"
        files[path] = drawing(curves)
        shown.setdefault("context_length", []).append(f"![KL by position, per architecture]({quote(path)})")
    found = response_pictures(store, scores)
    links = {sae: f"{name}.pictures/responses/{file}.svg" for sae, file in _file_names(list(found)).items()}
    files |= {links[sae]: drawing(spec) for sae, spec in found.items()}
    if links:
        listed = ", ".join(f"[{escaped(sae)}]({quote(link)})" for sae, link in links.items())
        more = (
            f", of the first {len(found)} of {asked} SAEs"
            if (asked := len(_with_items(scores, RESPONSES))) > len(found)
            else ""
        )
        sentence = f"Mean response curves of features and of every fake{more}: {listed}."
        shown.setdefault("distinguishability", []).append(sentence)
    return files, {table: "\n\n".join(parts) for table, parts in shown.items()}


def first_picture(scores: Sequence[Score], name: str, headlines: Sequence[str]) -> Pictures:
    """The picture above the first table, of the first model where there are several; nothing where it would be empty."""
    current = current_scores(scores)
    first = next(iter(by_model(current).values()), [])
    table = summarised(tables(first), headlines) if first else None
    shown = set(table.rows) if table else set()
    saes = [score for score in current if score.sae in shown]
    spec = forest(table, looks(saes)) if table else None
    path = f"{name}.pictures/questions.svg"
    words = f"![Every SAE under every question, with intervals]({quote(path)})"
    return ({path: drawing(spec)}, {"": words}) if spec else ({}, {})


def drawing(spec: Spec) -> Sealed:
    """A specification as a file to be, whose looks are part of what it is drawn from."""
    whole = styled(spec)
    return Sealed(whole, lambda: svg(whole))


def context_length_picture(store: Store, scores: Sequence[Score]) -> Spec | None:
    """Draw KL by position, a chart per architecture, from the items of `RETENTION`; None if there are none.

    Controls are drawn where there is nothing else: what is wrong by a hundred times as much hides the SAEs.
    """
    found = _with_items(scores, RETENTION)
    groups: dict[str, list[str]] = {}
    for name in _sorted(found):
        groups.setdefault(kind(found[name]), []).append(name)
    curves = {
        group: [(name, store.load_items(found[name], *CURVE)) for name in names[:MOST_READ]]
        for group, names in groups.items()
    }
    drawn = [name for name in sorted(groups) if name != CONTROL] or list(groups)
    log_y = _spans_decades([items["kl"] for name in drawn for _, items in curves[name]])
    return side_by_side([position_chart(curves[name][:MOST_LINES], name, log_y) for name in drawn]) if drawn else None


def position_chart(found: Sequence[tuple[str, Items]], title: str, log_y: bool = False) -> Spec:
    """KL from the model without SAE by position, of SAEs by their items."""
    arrays = [(name, {key: array.tolist() for key, array in items.items()}) for name, items in found]
    series = [Series(name, a["position"], a["kl"], a.get("kl_low"), a.get("kl_high")) for name, a in arrays]
    contexts = {tuple(a.get("context_size", ())) for _, a in arrays}
    context = next(iter(contexts))[0] if len(contexts) == 1 and contexts != {()} else None
    return line_chart(
        series, title=title, x_label="position in the document (tokens)", y_label="KL from the model without SAE (nats)",
        marker_x=context, marker_label=f"training context ({context})", log_y=log_y,
    )  # fmt: skip


def response_pictures(store: Store, scores: Sequence[Score]) -> dict[str, Spec]:
    """Draw, per SAE, how the model answers to features and to each fake, from the items of `RESPONSES`."""
    found = _with_items(scores, RESPONSES)
    names = _sorted(found)[:MOST_RESPONSES]
    return {name: stacked(response_charts(store.load_items(found[name]), f"{name}: ")) for name in names}


def response_charts(items: Items, prefix: str = "") -> list[Spec]:
    """Response curves of one SAE: a chart of inactive features, and one of active ones if they were asked about."""
    return [
        line_chart(
            _curves(items, axis), title=prefix + title, x_label=x_label, y_label="KL from the clean model (nats)",
            log_y=True,
        )
        for axis, (title, x_label) in AXES.items() if axis in items
    ]  # fmt: skip


def _scatters(scores: Sequence[Score]) -> dict[str, Spec]:
    """Draw, per table of the page, each ranked property; models have panels of their own."""
    models = by_model(scores)
    found: dict[str, list[Panel]] = {}
    for (name, _), of_model in models.items():
        suffix = f" on {name}" if len(models) > 1 else ""
        for table in tables(of_model):
            found.setdefault(table.name, []).extend(_panels(table, suffix))
    look: Looks = looks(scores)
    return {name: scatter(panels, name, look) for name, panels in found.items() if panels}


def _panels(table: Table, suffix: str) -> list[Panel]:
    columns = [(table.short(column) + suffix, table.column(column)) for column in table.columns]
    return [
        (title, scores) for title, scores in columns
        if scores[0].better != "neither" and not all(score.control for score in drawable(scores))
    ]  # fmt: skip


def _curves(items: Items, axis: str) -> list[Series]:
    names = [key.removeprefix(f"{axis}:") for key in items if key.startswith(f"{axis}:") and key.count(":") == 1]
    x = items[axis].tolist()
    return [
        Series(name, x, *(_column(items, f"{axis}:{name}{end}") for end in ("", ":low", ":high"))) for name in names
    ]


def _column(items: Items, name: str) -> list[float]:
    return items[name].tolist() if name in items else []


def _spans_decades(columns: Sequence[Any]) -> bool:
    values = [value for column in columns for value in column.tolist() if value > 0]
    return bool(values) and max(values) > 30 * min(values)


def _with_items(scores: Sequence[Score], name: str) -> dict[str, Score]:
    return {score.sae: score for score in scores if score.property == name and score.items}


def _sorted(found: Mapping[str, Score]) -> list[str]:
    """Controls last."""
    return sorted(found, key=lambda name: (found[name].control, natural(name)))


def _file_names(saes: Sequence[str]) -> dict[str, str]:
    """Name a file for each SAE, without its family where that is enough."""
    short = {sae: _plain(sae.partition("/")[2] or sae) for sae in saes}
    taken = Counter(name.lower() for name in short.values())
    return {sae: name if taken[name.lower()] == 1 else f"{name}-{_hash(sae)}" for sae, name in short.items()}


def _plain(name: str) -> str:
    """A name that every file system takes; one that had to be changed ends in its hash."""
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:80]
    return plain if plain == name else f"{plain}-{_hash(name)}"


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "backslashreplace")).hexdigest()[:8]
