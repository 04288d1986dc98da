"""Charts are well-formed, complete and equal for equal input."""

import math
from typing import Any
from xml.etree import ElementTree

import altair
import pytest
from drawn import HOSTILE, elements, svg, texts

from saebench.boards.plot import LONGEST, Series, label, labels, line_chart, side_by_side, stacked, styled

LINE = Series("organism/topk", [0, 64, 128, 256], [0.1, 0.1, 0.4, 0.8], [0.05, 0.05, 0.3, 0.7], [0.2, 0.2, 0.5, 0.9])


def chart(*series: Series, marker_x: float | None = 64, log_y: bool = False) -> dict[str, Any]:
    return line_chart(
        series, title="KL & <more>", x_label="position", y_label="KL", marker_x=marker_x, marker_label="context (64)",
        log_y=log_y,
    )  # fmt: skip


def lines(drawn: str) -> list[ElementTree.Element]:
    groups = [group for group in elements(drawn, "g") if (group.get("class") or "").startswith("mark-line")]
    return [path for group in groups for path in group]


def test_line_band_marker_and_names_are_drawn() -> None:
    drawn = svg(chart(LINE))
    assert {"KL & <more>", "position", "KL", "organism/topk", "context (64)"} <= set(texts(drawn))
    assert len([e for e in elements(drawn, "path") if e.get("opacity") == "0.13"]) == 1
    assert drawn == svg(chart(LINE))


def test_specifications_are_vega_lite() -> None:
    for spec in (chart(LINE), chart(LINE, log_y=True), side_by_side([chart(LINE), chart()]), stacked([chart(LINE)])):
        altair.Chart.from_dict(styled(spec))
    with pytest.raises(Exception, match="colour"):
        altair.Chart.from_dict({**chart(LINE), "encoding": {"colour": {"field": "x"}}})


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(name: str) -> None:
    drawn = svg(chart(Series(name, [0, 1], [0, 1])))
    assert not elements(drawn, "script")
    assert label(name) in texts(drawn)
    assert max(map(len, texts(drawn))) <= LONGEST


def test_names_that_look_alike_when_shortened_are_told_apart() -> None:
    names = ["x" * 90 + tail for tail in ("a" * 40, "b" * 40, "b" * 41)]
    assert len(set(labels([*names, *names]))) == 6
    spec = chart(*(Series(name, [0, 1], [0, 1]) for name in names))
    assert len({row["name"] for row in spec["data"]["values"]}) == 3


def test_many_lines_are_told_apart() -> None:
    drawn = svg(chart(*(Series(f"sae {i}", [0, 1], [i, i + 1]) for i in range(12)), marker_x=None))
    assert len({(line.get("stroke"), line.get("stroke-dasharray")) for line in lines(drawn)}) == 12


def test_gaps_where_there_is_no_number() -> None:
    spec = chart(Series("a", [0, 1, 2, 3, 4], [1, 2, math.nan, 3, 4]), marker_x=None)
    drawn = svg(spec)
    assert [line.get("d", "").count("M") for line in lines(drawn)] == [2]
    assert "NaN" not in drawn


@pytest.mark.parametrize("values", [[0.001, 1.0, 40.0], [0.0, -1.0, 5.0], [0.0, 0.0, 0.0]])
def test_logarithmic_axis(values: list[float]) -> None:
    spec = chart(Series("a", [0, 1, 2], values), log_y=True)
    assert [row["y"] for row in spec["data"]["values"]] == [v if v > 0 or max(values) == 0 else None for v in values]
    assert "NaN" not in svg(spec)


@pytest.mark.parametrize("series", [[], [Series("a", [], [])], [Series("a", [5], [0.0])], [Series("a", [5], [-3e7])]])
def test_little_or_nothing_to_draw(series: list[Series]) -> None:
    assert "KL & <more>" in texts(svg(chart(*series, marker_x=None)))
