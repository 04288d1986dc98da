"""A value between its floor and its ceiling, drawn with characters."""

import math

REST, INTERVAL, VALUE, BELOW, ABOVE = "·━●◂▸"
CELLS = 10


def bar(floor: float | None, ceiling: float | None, low: float, high: float, value: float | None = None) -> str:
    """`····━●━···`, from floor to ceiling whichever is larger; empty where one of them is missing.

    Arrows stand for what lies beyond an end.
    """
    if floor is None or ceiling is None or floor == ceiling or not math.isfinite(ceiling - floor):
        return ""

    def share(x: float) -> float:
        return (x - floor) / (ceiling - floor)

    cells = [REST] * CELLS
    first, last = sorted((_cell(share(low)), _cell(share(high))))
    cells[first : last + 1] = [INTERVAL] * (last + 1 - first)
    if value is not None:
        at = share(value)
        cells[_cell(at)] = BELOW if at < 0 else ABOVE if at > 1 else VALUE
    return "".join(cells)


def _cell(share: float) -> int:
    return int(min(max(share, 0.0), 1.0) * (CELLS - 1) + 0.5)
