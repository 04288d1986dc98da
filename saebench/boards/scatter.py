"""Scores against L0, one panel per property, as a Vega-Lite specification."""

import math
from collections.abc import Sequence

from saebench.boards.plot import GREY, PALETTE, Spec, coordinate, label
from saebench.compare.pareto import FEWEST_LATENTS, front_of, l0_of
from saebench.record.score import Score

SHAPES = (
    "M-1,0A1,1,0,1,1,1,0A1,1,0,1,1,-1,0Z", "M-.9,-.9H.9V.9H-.9Z", "M0,-1L1,.8H-1Z", "M0,-1.1L1.1,0L0,1.1L-1.1,0Z",
    "M0,1L1,-.8H-1Z", "M-1,-.35H-.35V-1H.35V-.35H1V.35H.35V1H-.35V.35H-1Z", "M1,0L-.8,1V-1Z", "M-1,0L.8,1V-1Z",
)  # fmt: skip
"""Paths in a square from -1 to 1; one more than there are colours, so that what shares a colour has another shape."""
CONTROL, UNKNOWN = "control", "unknown"
DIRECTIONS = {"higher": "↑ higher is better", "lower": "↓ lower is better", "neither": ""}
ACROSS = 2
ROOM, MARGIN = 0.35, 0.06
"""Of what the SAEs span, how much a scale may be longer for controls, and is longer anyway."""
READING = (
    "Bars: 95% intervals. Step line: the best score at this L0 or less (Pareto front). Dashed or short grey lines: floor and",
    "ceiling, what a useless and a perfect SAE get, where they are on the scale. A control at an edge lies beyond it.",
)
MOST_POINTS = 1_000
"""Points of a panel; more are a stain, which takes minutes to draw."""
THINNED = f"There are more than {MOST_POINTS:,} SAEs: drawn are those on the front, and {MOST_POINTS:,} evenly chosen by their L0."
Looks = dict[str, tuple[str, str]]
"""Colour and shape by kind of point."""
Panel = tuple[str, Sequence[Score]]
"""A title, and the scores of one property on one model."""


def scatter(panels: Sequence[Panel], title: str, look: Looks) -> Spec:
    """Draw each panel's scores against L0 with their intervals, front, floor and ceiling."""
    shown = [(name, drawable(scores)) for name, scores in panels]
    l0_axis = _l0_axis([score for _, scores in shown for score in scores])
    drawn = [_panel(name, scores, l0_axis, look) for name, scores in shown]
    most = max(len(scores) for _, scores in shown)
    head = {"text": label(title), "subtitle": [*READING, *([THINNED] if most > MOST_POINTS else [])], "offset": 14}
    return {"title": head, "concat": drawn, "columns": ACROSS}


def drawable(scores: Sequence[Score]) -> list[Score]:
    """Scores that have a place beside a logarithmic axis of L0."""
    return [
        score
        for score in scores
        if l0_of(score) is not None and all(coordinate(end) is not None for end in _ends(score))
    ]


def thinned(scores: Sequence[Score]) -> list[Score]:
    """All, or of too many those on the front, and of the others every so-manieth by L0, in their order."""
    if len(scores) <= MOST_POINTS:
        return list(scores)
    by_l0 = sorted(range(len(scores)), key=lambda place: (scores[place].l0 or 0.0, scores[place].sae))
    kept = {by_l0[i * len(by_l0) // MOST_POINTS] for i in range(MOST_POINTS)}
    front = {id(score) for score, _ in front_of(scores)}
    return [score for place, score in enumerate(scores) if place in kept or id(score) in front]


def _ends(score: Score) -> tuple[float | None, ...]:
    return score.value, score.ci_low, score.ci_high


def kind(score: Score) -> str:
    """What tells points apart: the architecture, or that it is a control."""
    name = label(score.architecture or UNKNOWN)
    return CONTROL if score.control else f"{name} (architecture)" if name == CONTROL else name


def looks(scores: Sequence[Score]) -> Looks:
    """Give each kind a colour and shape that no other has: architectures by name, controls last, as grey circles."""
    like = {(score.architecture, score.control): score for score in scores}
    kinds = sorted({kind(score) for score in like.values()}, key=lambda name: (name == CONTROL, name))
    found = {name: (PALETTE[i % len(PALETTE)], SHAPES[i % len(SHAPES)]) for i, name in enumerate(kinds)}
    return {name: (GREY, SHAPES[0]) if name == CONTROL else look for name, look in found.items()}


def _panel(title: str, scores: Sequence[Score], l0_axis: Spec, look: Looks) -> Spec:
    (low, high), drawn = _y_range(scores), thinned(scores)
    y = {
        "field": "y", "type": "quantitative", "scale": {"domain": [low, high], "nice": False, "clamp": True},
        "axis": {"title": f"{title}  {DIRECTIONS[scores[0].better]}", "titleAngle": 0, "titleAlign": "left",
                 "titleAnchor": "end", "titleX": 0, "titleY": -9, "titleLimit": 340, "tickCount": 5},
    }  # fmt: skip
    return {
        "width": 340, "height": 210, "encoding": {"x": l0_axis, "y": y},
        "data": {"values": [_point(score) for score in drawn]},
        "layer": [*_references(drawn, low, high), _front(scores), _bars(), _points(look)],
    }  # fmt: skip


def _l0_axis(scores: Sequence[Score]) -> Spec:
    own, others = (
        [math.log2(score.l0) for score in scores if score.l0 and score.control == control] for control in (False, True)
    )
    domain = [max(round(2.0**end, 3), FEWEST_LATENTS) for end in _extent(own, others)]
    return {
        "field": "l0", "type": "quantitative", "title": "L0", "axis": {"tickCount": 6, "format": "~g"},
        "scale": {"type": "log", "base": 2, "domain": domain, "nice": False, "clamp": True},
    }  # fmt: skip


def _y_range(scores: Sequence[Score]) -> tuple[float, float]:
    own = [end for score in scores if not score.control for end in _ends(score)]
    others = [score.value for score in scores if score.control]
    low, high = _extent([end for end in own if end is not None], [value for value in others if value is not None])
    return float(f"{low:.5g}"), float(f"{high:.5g}")


def _extent(own: Sequence[float], others: Sequence[float]) -> tuple[float, float]:
    """Ends of a scale that shows SAEs in full, and controls as far as they leave SAEs most of the room."""
    low, high = min(own), max(own)
    span = (high - low) or abs(high) or 1.0
    wide = min([low, *others]), max([high, *others])
    return max(wide[0], low - ROOM * span) - MARGIN * span, min(wide[1], high + ROOM * span) + MARGIN * span


def _point(score: Score) -> Spec:
    values = {"l0": score.l0, "y": score.value, "low": score.ci_low, "high": score.ci_high}
    return {"kind": kind(score), **{name: coordinate(value) for name, value in values.items()}}


def _points(look: Looks) -> Spec:
    def encoded(values: Sequence[str]) -> Spec:
        scale = {"domain": list(look), "range": list(values)}
        return {"field": "kind", "type": "nominal", "title": None, "scale": scale, "legend": {"orient": "top"}}

    colours, shapes = [colour for colour, _ in look.values()], [shape for _, shape in look.values()]
    fills = ["#ffffff" if name == CONTROL else colour for name, (colour, _) in look.items()]
    return {
        "mark": {"type": "point", "size": 70, "opacity": 0.9, "strokeWidth": 1.4},
        "encoding": {"stroke": encoded(colours), "fill": encoded(fills), "shape": encoded(shapes)},
    }


def _bars() -> Spec:
    y = {"field": "low", "type": "quantitative"}
    return {
        "mark": {"type": "rule", "color": "#555555", "opacity": 0.55},
        "encoding": {"y": y, "y2": {"field": "high"}},
    }


def _front(scores: Sequence[Score]) -> Spec:
    steps = [{"l0": coordinate(l0), "y": coordinate(value)} for _, (l0, value) in front_of(scores)]
    # To the last SAE: what is best there need not be anew on the front.
    last = max((score.l0 or 0.0 for score in scores if not score.control), default=None)
    steps += [{"l0": coordinate(last), "y": steps[-1]["y"]}] if steps else []
    return {
        "data": {"values": steps},
        "mark": {"type": "line", "interpolate": "step-after", "color": "#333333", "strokeWidth": 1.3},
    }


def _references(scores: Sequence[Score], low: float, high: float) -> list[Spec]:
    """Floor and ceiling: a line through the panel where they are the same for all, else a dash below each SAE."""
    found = []
    for name in ("floor", "ceiling"):
        known = [(score.l0, getattr(score, name)) for score in scores if getattr(score, name) is not None]
        rows = [{"l0": coordinate(l0), "y": coordinate(y)} for l0, y in known if low <= y <= high and math.isfinite(y)]
        if len({row["y"] for row in rows}) == 1:
            found.append(
                {
                    "data": {"values": rows[:1]},
                    "mark": {"type": "rule", "strokeDash": [5, 3], "color": GREY},
                    "encoding": {"x": None},
                }
            )
        elif rows:
            dash = {"type": "point", "shape": "stroke", "size": 180, "color": GREY, "strokeWidth": 1.4}
            found.append({"data": {"values": rows}, "mark": dash})
    return found
