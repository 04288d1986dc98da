"""Line charts as SVG text, written by hand so that a published picture depends on nothing but the scores."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 66, 540, 40, 370
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's colours, without the yellow that vanishes on white."""
DASHES = ("", "6 3", "2 3", "8 3 2 3")

Scale = Callable[[float], float]


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
) -> str:  # fmt: skip
    """Draw lines with their bands, a legend on the right, and a vertical marker; equal input gives equal text.

    With `log_y`, values of zero and below leave a gap.
    """
    xs = [x for line in series for x in line.x] + ([] if marker_x is None else [marker_x])
    ys = [y for line in series for part in (line.y, line.low, line.high) for y in part or () if _drawable(y, log_y)]
    x_ticks, y_ticks = _ticks(xs), _log_ticks(ys) if log_y else _ticks(ys)
    to_x = _scale(min(xs, default=0), max(xs, default=1), LEFT, RIGHT, log=False)
    to_y = _scale(y_ticks[0], y_ticks[-1], BOTTOM, TOP, log=log_y)
    x_ticks = [tick for tick in x_ticks if LEFT - 0.01 <= to_x(tick) <= RIGHT + 0.01]
    parts = [_frame(title, x_label, y_label), *_x_axis(x_ticks, to_x), *_y_axis(y_ticks, to_y)]
    for i, line in enumerate(series):
        parts += [*_band(line, i, to_x, to_y, log_y), *_line(line, i, to_x, to_y, log_y), *_legend(line, i)]
    if marker_x is not None:
        parts.append(_marker(to_x(marker_x), marker_label))
    return "\n".join([*parts, "</svg>"]) + "\n"


def stacked(charts: Sequence[str]) -> str:
    """Charts of `line_chart` below one another, as one picture."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT * len(charts)}">'
    inner = [chart.replace("<svg ", f'<svg y="{HEIGHT * i}" ', 1) for i, chart in enumerate(charts)]
    return "\n".join([head, *(chart.rstrip() for chart in inner), "</svg>"]) + "\n"


def _frame(title: str, x_label: str, y_label: str) -> str:
    middle = (TOP + BOTTOM) // 2
    return "\n".join((
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12" fill="#222222">',
        f"<title>{_text(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _label(LEFT, 22, title, size=14),
        _label((LEFT + RIGHT) / 2, HEIGHT - 12, x_label, anchor="middle"),
        f'<g transform="rotate(-90 16 {middle})">{_label(16, middle, y_label, anchor="middle")}</g>',
        f'<path d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}" fill="none" stroke="#444444"/>',
    ))  # fmt: skip


def _x_axis(ticks: list[float], to_x: Scale) -> list[str]:
    labels = [_label(to_x(tick), BOTTOM + 18, f"{tick:g}", anchor="middle") for tick in ticks]
    return [f'<path d="M{_n(to_x(tick))} {BOTTOM}v4" stroke="#444444"/>' for tick in ticks] + labels


def _y_axis(ticks: list[float], to_y: Scale) -> list[str]:
    grid = [f'<path d="M{LEFT} {_n(to_y(tick))}H{RIGHT}" stroke="#dddddd" stroke-width="0.7"/>' for tick in ticks]
    return grid + [_label(LEFT - 6, to_y(tick) + 4, f"{tick:g}", anchor="end") for tick in ticks]


def _line(line: Series, index: int, to_x: Scale, to_y: Scale, log_y: bool) -> list[str]:
    path, pen = "", "M"
    for x, y in zip(line.x, line.y, strict=True):
        if _drawable(y, log_y):
            path += f"{pen}{_n(to_x(x))} {_n(to_y(y))}"
        pen = "L" if _drawable(y, log_y) else "M"
    return [f'<path d="{path}" fill="none" stroke-width="1.8"{_stroke(index)}/>'] if path else []


def _band(line: Series, index: int, to_x: Scale, to_y: Scale, log_y: bool) -> list[str]:
    edges = list(zip(line.x, line.low or (), line.high or (), strict=True)) if line.low and line.high else []
    edges = [edge for edge in edges if _drawable(edge[1], log_y) and _drawable(edge[2], log_y)]
    corners = [(x, low) for x, low, _ in edges] + [(x, high) for x, _, high in reversed(edges)]
    points = " ".join(f"{_n(to_x(x))},{_n(to_y(y))}" for x, y in corners)
    colour = PALETTE[index % len(PALETTE)]
    return [f'<polygon points="{points}" fill="{colour}" fill-opacity="0.13"/>'] if edges else []


def _legend(line: Series, index: int) -> list[str]:
    y = TOP + 10 + 20 * index
    # The middle is left out: names of one family differ at their end.
    name = line.name if len(line.name) <= 24 else f"{line.name[:9]}…{line.name[-14:]}"
    return [f'<path d="M{RIGHT + 14} {y}h22"{_stroke(index)} stroke-width="1.8"/>', _label(RIGHT + 42, y + 4, name)]


def _marker(x: float, label: str) -> str:
    # On the left of the line where its right side has no room.
    right = x < (LEFT + RIGHT) / 2
    text = _label(x + (5 if right else -5), TOP + 10, label, anchor="start" if right else "end")
    return f'<path d="M{_n(x)} {TOP}V{BOTTOM}" stroke="#666666" stroke-dasharray="3 3"/>\n{text}'


def _label(x: float, y: float, text: str, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}" font-size="{size}">{_text(text)}</text>'


def _stroke(index: int) -> str:
    dash = DASHES[index // len(PALETTE) % len(DASHES)]
    return f' stroke="{PALETTE[index % len(PALETTE)]}"' + (f' stroke-dasharray="{dash}"' if dash else "")


def _scale(low: float, high: float, start: float, end: float, *, log: bool) -> Scale:
    warp: Scale = math.log10 if log else float
    span = (warp(high) - warp(low)) or 1.0
    return lambda value: start + (end - start) * (warp(value) - warp(low)) / span


def _ticks(values: Sequence[float]) -> list[float]:
    """Round numbers that enclose the values: steps of 1, 2 or 5 times a power of ten, four to nine of them."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    # Zero belongs on the axis unless the values are far from it.
    low = 0.0 if 0 <= low < 0.6 * high else low
    rough = ((high - low) or abs(high) or 1.0) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{i * step:.10g}") for i in range(first, max(last, first + 1) + 1)]


def _log_ticks(values: Sequence[float]) -> list[float]:
    low = math.floor(math.log10(min(values, default=0.1)))
    high = math.ceil(math.log10(max(values, default=1.0)))
    return [10.0**power for power in range(low, max(high, low + 1) + 1)]


def _drawable(value: float, log_y: bool) -> bool:
    return math.isfinite(value) and (value > 0 or not log_y)


def _n(value: float) -> str:
    return f"{value:.1f}"


def _text(text: str) -> str:
    # XML has no way to write control characters, not even escaped.
    return escape("".join(char if char.isprintable() else " " for char in text))
