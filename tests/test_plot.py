"""Charts are well-formed, complete and equal for equal input."""

import math
from xml.etree import ElementTree

import pytest

from saebench.plot import Series, line_chart

LINE = Series("organism/topk", [0, 64, 128, 256], [0.1, 0.1, 0.4, 0.8], [0.05, 0.05, 0.3, 0.7], [0.2, 0.2, 0.5, 0.9])


def chart(*series: Series, marker_x: float | None = 64, log_y: bool = False) -> str:
    return line_chart(
        series, title="KL & <more>", x_label="position", y_label="KL", marker_x=marker_x, marker_label="context (64)",
        log_y=log_y,
    )  # fmt: skip


def elements(svg: str, tag: str) -> list[ElementTree.Element]:
    return ElementTree.fromstring(svg).findall(f".//{{http://www.w3.org/2000/svg}}{tag}")


def test_line_band_marker_and_names_are_drawn() -> None:
    svg = chart(LINE)
    assert len(elements(svg, "polygon")) == 1
    texts = [element.text for element in elements(svg, "text")]
    assert {"KL & <more>", "position", "KL", "organism/topk", "context (64)", "0", "200"} <= set(texts)
    assert svg == chart(LINE)


@pytest.mark.parametrize("name", ['a"<script>&', "]]>", "\x00\x1b[31m", "ñ—\u2028", "x" * 300])
def test_hostile_names_stay_text(name: str) -> None:
    svg = chart(Series(name, [0, 1], [0, 1]))
    assert not elements(svg, "script")
    assert max(len(element.text or "") for element in elements(svg, "text")) < 40


def test_many_lines_are_told_apart_and_fit() -> None:
    svg = chart(*(Series(f"sae {i}", [0, 1], [i, i + 1]) for i in range(12)))
    strokes = [
        (e.get("stroke"), e.get("stroke-dasharray")) for e in elements(svg, "path") if e.get("stroke-width") == "1.8"
    ]
    assert len(set(strokes)) == 12
    assert all(0 <= float(e.get("y", "0")) <= 420 for e in elements(svg, "text"))


def test_gaps_where_there_is_no_number() -> None:
    svg = chart(Series("a", [0, 1, 2, 3, 4], [1, 2, math.nan, 3, 4]), marker_x=None)
    (line,) = [
        e.get("d", "") for e in elements(svg, "path") if e.get("stroke-width") == "1.8" and e.get("fill") == "none"
    ]
    assert line.count("M") == 2
    assert "nan" not in svg


@pytest.mark.parametrize("values", [[0.001, 1.0, 40.0], [0.0, -1.0, 5.0], [0.0, 0.0, 0.0]])
def test_logarithmic_axis(values: list[float]) -> None:
    svg = chart(Series("a", [0, 1, 2], values), log_y=True)
    assert elements(svg, "svg") is not None
    assert "nan" not in svg


@pytest.mark.parametrize("series", [[], [Series("a", [], [])], [Series("a", [5], [0.0])], [Series("a", [5], [-3e7])]])
def test_little_or_nothing_to_draw(series: list[Series]) -> None:
    assert ElementTree.fromstring(chart(*series, marker_x=None)).get("width") == "760"


@pytest.mark.parametrize("top", [0.00037, 0.9, 7.0, 1234.5, 8e8])
def test_every_point_is_inside_the_axes(top: float) -> None:
    svg = chart(Series("a", [3, 700], [0.0, top]), marker_x=None)
    path = next(e.get("d", "") for e in elements(svg, "path") if e.get("stroke-width") == "1.8")
    points = [tuple(map(float, point.split())) for point in path[1:].split("L")]
    assert all(66 <= x <= 540 and 40 <= y <= 370 for x, y in points)
    assert 4 <= len([e for e in elements(svg, "text") if e.get("text-anchor") == "end"]) <= 12
