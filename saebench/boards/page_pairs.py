"""Differences of two SAEs for the page, as `saebench compare` finds them: paired item by item where both share them."""

import math
from collections.abc import Sequence
from itertools import combinations

from saebench.boards.board import Table
from saebench.boards.plot import coordinate
from saebench.compare.contrasts import Compare
from saebench.record.columns import Column
from saebench.record.score import Score
from saebench.stats.statistics import NORMAL

MOST = 24
"""SAEs of which any two are compared on every property; of more, on the headlines alone, or a page would be too large."""
MOST_SAES = 200
"""SAEs of which any two are compared on the headlines, and whose items are on the page; of more, neither."""
Pair = tuple[float, float] | None
"""The second SAE's score minus the first's, and half of the 95% interval."""


def pairs(table: Table, column: Column, compare: Compare) -> list[Pair]:
    """One per pair of the table's `saes`, in the order of `itertools.combinations`; None where one has no score."""
    found = [table.cells.get((row, column)) for row in table.saes]
    return [_pair(first, second, compare) for first, second in combinations(found, 2)]


def _pair(first: Score | None, second: Score | None, compare: Compare) -> Pair:
    if first is None or second is None or first.value is None or second.value is None:
        return None
    contrast = compare(second, first)
    value, half = coordinate(contrast.value), coordinate(_quantile(contrast.freedom) * contrast.error)
    return None if value is None or half is None else (value, half)


def _quantile(freedom: float) -> float:
    """Of Student's t, .975, by Wallace's approximation (1959), since scipy takes long to import."""
    if math.isinf(freedom):
        return NORMAL
    nu = max(freedom, 1.0)
    return math.sqrt(nu * math.expm1((NORMAL * (8 * nu + 3) / (8 * nu + 1)) ** 2 / nu))


def chosen(columns: Sequence[Column], headlines: Sequence[int], saes: int) -> set[int]:
    """Places of the columns that are compared."""
    return set(range(len(columns))) if saes <= MOST else set(headlines) if saes <= MOST_SAES else set()
