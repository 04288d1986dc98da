"""Line charts as Vega-Lite specifications, and specifications as SVG text.

Specifications are plain dictionaries rather than objects of a library: the digest of a published picture then depends
on nothing but what it shows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, repeat
from typing import Any

from saebench.record.naming import shown

Spec = dict[str, Any]

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's colours, without the yellow that vanishes on white."""
DASHES = ([1, 0], [6, 3], [2, 3], [8, 3, 2, 3])
GREY = "#767676"
LONGEST = 34
"""Characters of a name in a legend."""
LONGEST_TEXT = 400
"""Characters of any text in a picture."""
LARGEST = 1e15
"""A coordinate beyond it has no place in a picture."""
MOST_POINTS = 5_000
"""Points of a line; of more, as many are drawn."""
CONFIG: Spec = {
    # GitHub shows pictures on a dark page too.
    "background": "#ffffff",
    "padding": 12,
    "font": "sans-serif",
    "aria": False,
    "axis": {"gridColor": "#e4e4e4", "labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": "normal"},
    "legend": {"labelLimit": 400, "labelFontSize": 12, "symbolStrokeWidth": 1.8},
    "title": {"anchor": "start", "fontSize": 14, "subtitleFontSize": 12, "subtitleColor": "#444444"},
    "text": {"fontSize": 11},
    "view": {"stroke": "#999999"},
    "concat": {"spacing": 24},
}


@dataclass(frozen=True)
class Series:
    """One line; `low` and `high` draw a band around it. Points that are not finite leave a gap."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


def line_chart(
    series: Sequence[Series], *, title: str, x_label: str, y_label: str,
    marker_x: float | None = None, marker_label: str = "", log_y: bool = False,
) -> Spec:  # fmt: skip
    """Lines with their bands, a legend, and a vertical marker.

    With `log_y`, values of zero and below leave a gap; if there are no others, the axis is linear.
    """
    log_y = log_y and any(value > 0 for line in series for value in line.y)
    names = labels([line.name for line in series])
    rows = [row for i, line in enumerate(series) for row in _rows(names[i], PALETTE[i % len(PALETTE)], line, log_y)]
    x = {"field": "x", "type": "quantitative", "title": x_label, "scale": {"nice": False}, "axis": {"tickCount": 8}}
    marker = [] if coordinate(marker_x) is None else _marker(coordinate(marker_x), marker_label)
    return {
        "title": label(title, 2 * LONGEST), "width": 520, "height": 320, "encoding": {"x": x},
        "data": {"values": rows}, "layer": [*_lines(names, y_label, log_y), *marker],
    }  # fmt: skip


def side_by_side(specs: Sequence[Spec]) -> Spec:
    """Charts of like scale in two columns, each with a legend of its own below it."""
    small = [{**spec, "width": 340, "height": 220} for spec in specs]
    resolve = {"scale": {"y": "shared", "color": "independent", "strokeDash": "independent"}}
    legend = {**CONFIG["legend"], "orient": "bottom", "columns": 1}
    return {"concat": small, "columns": 2, "resolve": resolve, "config": {"legend": legend}}


def stacked(specs: Sequence[Spec]) -> Spec:
    """Charts below one another, each with a legend of its own."""
    scale = {"color": "independent", "strokeDash": "independent"}
    return {"vconcat": list(specs), "resolve": {"scale": scale}}


def styled(spec: Spec) -> Spec:
    """A chart with the looks of all pictures, where it has none of its own, and nothing in it that does not draw."""
    found: Spec = cleaned({**spec, "config": {**CONFIG, **spec.get("config", {})}}, LONGEST_TEXT)
    return found


def cleaned(source: Any, most: int) -> Any:
    """JSON whose texts are one line each, no longer than that, and without control characters.

    What draws ends the process where it finds one, and takes minutes to measure a text of thousands.
    """
    if isinstance(source, str):
        return shown(source, most)
    if isinstance(source, Mapping):
        return {cleaned(key, most): cleaned(value, most) for key, value in source.items()}
    return [cleaned(value, most) for value in source] if isinstance(source, list | tuple) else source


def svg(spec: Spec) -> str:
    """Draw a specification."""
    import vl_convert

    return str(vl_convert.vegalite_to_svg(spec))


def label(text: str, most: int = LONGEST) -> str:
    """A name as it may stand in a picture: one line without control characters.

    The middle of a long one is left out: names of one family differ at their end.
    """
    text = shown(text)
    return text if len(text) <= most else f"{text[: most // 3]}…{text[1 - most + most // 3 :]}"


def labels(names: Sequence[str]) -> list[str]:
    """Names as they may stand in one picture; those that look alike when they are shortened are numbered."""
    short = [label(name) for name in names]
    return [f"{name} ({short[:i].count(name) + 1})" if name in short[:i] else name for i, name in enumerate(short)]


def coordinate(value: float | None) -> float | None:
    """A coordinate to five digits, which no eye can tell from more; None leaves a gap."""
    return float(f"{value:.5g}") if value is not None and abs(value) <= LARGEST else None


def _rows(name: str, colour: str, line: Series, log_y: bool) -> list[Spec]:
    ends = zip(line.low or repeat(None), line.high or repeat(None), strict=False)
    rows = []
    step = -(-len(line.x) // MOST_POINTS)
    for x, y, (low, high) in islice(zip(line.x, line.y, ends, strict=False), None, None, max(step, 1)):
        values = [coordinate(value) for value in (y, low, high)]
        drawn = [None if log_y and value is not None and value <= 0 else value for value in values]
        rows.append(
            {"name": name, "fill": colour, "x": coordinate(x), **dict(zip(("y", "low", "high"), drawn, strict=True))}
        )
    return rows


def _lines(names: Sequence[str], y_label: str, log_y: bool) -> list[Spec]:
    ticks = {"tickCount": 5, "format": "~g"} if log_y else {}
    y = {
        "field": "y", "type": "quantitative", "title": y_label, "axis": {"labelOverlap": True, **ticks},
        "scale": {"type": "log" if log_y else "linear"},
    }  # fmt: skip
    colour, dash = _cycle(names, PALETTE, 1), _cycle(names, DASHES, len(PALETTE))
    # Of its own field: an area that shares a scale with a line takes the line out of the legend.
    filled = {
        "fill": {"field": "fill", "type": "nominal", "scale": None},
        "detail": {"field": "name", "type": "nominal"},
    }
    band = {
        "mark": {"type": "area", "opacity": 0.13},
        "transform": [{"filter": "isValid(datum.low) && isValid(datum.high)"}],
        "encoding": {"y": {**y, "field": "low"}, "y2": {"field": "high"}, **filled},
    }
    line = {
        "mark": {"type": "line", "strokeWidth": 1.8, "invalid": "break-paths-show-domains"},
        "encoding": {"y": y, "color": colour, "strokeDash": dash},
    }
    return [band, line]


def _cycle(names: Sequence[str], looks: Sequence[Any], each: int) -> Spec:
    """Encode names, in their order, by looks that change after `each` names."""
    chosen = [looks[i // each % len(looks)] for i in range(len(names))]
    return {
        "field": "name",
        "type": "nominal",
        "title": None,
        "legend": {"symbolSize": 300},
        "scale": {"domain": list(names), "range": chosen},
    }


def _marker(x: float | None, text: str) -> list[Spec]:
    data = {"values": [{"x": x, "text": text}]}
    words = {"type": "text", "align": "left", "dx": 5, "dy": 10, "y": 0, "color": "#444444"}
    rule = {"type": "rule", "strokeDash": [3, 3], "color": GREY}
    return [{"data": data, "mark": rule}, {"data": data, "mark": words, "encoding": {"text": {"field": "text"}}}]
