"""SAEs whose features are known: what properties say of them against what is true."""

from collections.abc import Mapping, Sequence

from saebench.boards.plot import Spec, coordinate, label
from saebench.boards.scatter import Looks, kind, looks
from saebench.record.columns import Column
from saebench.record.score import Score
from saebench.reliability.lens_zoo import FEWEST_SAES, truth_of
from saebench.reliability.reliability import Data

ACROSS = 3


def truth_picture(data: Data) -> Spec | None:
    """A panel per property of which a truth is known, a point per SAE; None where there is none."""
    found = [(column, *truth_of(data, column)) for column in data.columns]
    panels = [(column, fact, data.zoo[column], known) for column, fact, known in found if len(known) >= FEWEST_SAES]
    if not panels:
        return None
    look = looks([scores[sae] for _, _, scores, known in panels for sae in known])
    drawn = [_panel(column, fact, scores, known, data.truth, look) for column, fact, scores, known in panels]
    return {"title": {"text": "What is said, against what is known"}, "concat": drawn, "columns": ACROSS}


def _panel(
    column: Column, fact: str, scores: Mapping[str, Score], known: Sequence[str],
    truth: Mapping[str, Mapping[str, float]], look: Looks,
) -> Spec:  # fmt: skip
    rows = [
        {"x": coordinate(truth[sae][fact]), "y": coordinate(scores[sae].value), "kind": kind(scores[sae])}
        for sae in known
    ]
    present = [name for name in look if any(row["kind"] == name for row in rows)]
    colour = {
        "field": "kind", "type": "nominal", "title": None,
        "scale": {"domain": present, "range": [look[name][0] for name in present]},
    }  # fmt: skip
    shape = {**colour, "scale": {"domain": present, "range": [look[name][1] for name in present]}}
    axes = {
        "x": {"field": "x", "type": "quantitative", "title": label(fact), "scale": {"zero": False}},
        "y": {"field": "y", "type": "quantitative", "title": None, "scale": {"zero": False}},
    }
    return {
        "title": {"text": label(column.name, 44), "fontSize": 12}, "width": 230, "height": 170,
        "data": {"values": rows}, "mark": {"type": "point", "size": 40, "filled": True, "opacity": 0.8},
        "encoding": {**axes, "color": colour, "shape": shape},
    }  # fmt: skip
