"""All pairs of a column at once, in blocks: the same verdicts as pair by pair, for thousands of SAEs."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np

from saebench.compare.differences import Items
from saebench.compare.shared_items import Group, Shared, grouped
from saebench.record.score import Score
from saebench.stats.statistics import NORMAL, Floats, Ints

ROWS, COLUMNS = 256, 1024
"""Pairs of a block, whose arrays fit into a processor's cache."""
ROUNDED = 1e-12
"""Of a value: what rounding leaves of two values at the ceiling is no difference."""
FARTHEST = 40.0
"""Standard errors from which on a p-value is 0."""


class Told(NamedTuple):
    """Pairs that a test of each by itself tells apart: the normal quantile of its p-value, and which one is the worse."""

    z: Floats
    worse: Ints


def beaten(scores: Sequence[Score], items: Callable[[Score], Items], level: float) -> list[int]:
    """By how many of a column's scores each is clearly beaten, at a level for all of its pairs together (Holm 1979)."""
    groups = grouped(scores, items)
    order = np.array([place for group in groups for place in group.places], dtype=int)
    pairs, rest = math.comb(len(order), 2), list[Told]()
    counts, sure = np.zeros(len(order), dtype=int), least(level, pairs)
    for told in _told(_Column.of([scores[place] for place in order]), groups, least(level, 1)):
        far = told.z >= sure
        counts += np.bincount(told.worse[far], minlength=len(order))
        rest.append(Told(told.z[~far], told.worse[~far]))
    if rest:
        z, worse = (np.concatenate(parts) for parts in zip(*rest, strict=True))
        limit = _limit(z, int(counts.sum()), pairs, level)
        counts += np.bincount(worse[z >= limit], minlength=len(order))
    return [int(count) for count in counts[np.argsort(order)]]


def least(level: float, factor: int) -> float:
    """The least z whose two-sided p-value, times a factor, is below a level."""
    low, high = 0.0, FARTHEST
    while low < (middle := (low + high) / 2) < high:
        low, high = (low, middle) if math.erfc(middle / math.sqrt(2)) * factor < level else (middle, high)
    return high


def _limit(z: Floats, certain: int, pairs: int, level: float) -> float:
    """How far the last pair is that Holm's procedure rejects: each step has fewer pairs left than the one before."""
    rejected = certain
    while True:
        limit = least(level, max(pairs - rejected, 1))
        if (found := certain + int((z >= limit).sum())) == rejected:
            return limit
        rejected = found


@dataclass(frozen=True, eq=False)
class _Column:
    """(score,) what is compared where two scores share too few items."""

    sign: int
    value: Floats
    excess: Floats
    """By how much a value is beyond the ceiling, where there is nothing better."""
    half: Floats

    @classmethod
    def of(cls, scores: Sequence[Score]) -> "_Column":
        sign = 1 if scores and scores[0].better == "higher" else -1
        excess = [0.0 if s.ceiling is None else max(0.0, sign * ((s.value or 0.0) - s.ceiling)) for s in scores]
        value, half = ([number or 0.0 for number in some] for some in (
            (score.value for score in scores), (score.half_width() for score in scores)))  # fmt: skip
        return cls(sign, np.array(value), np.array(excess), np.array(half))

    def lead(self, rows: slice, columns: slice, shared: Shared | None) -> tuple[Floats, Floats, Floats]:
        """(row, column) by how much the first is better, the standard error of that, and its degrees of freedom."""
        value = self.value[rows, None] - self.value[columns]
        error = np.hypot(self.half[rows, None], self.half[columns]) / NORMAL
        freedom = np.full(value.shape, math.inf)
        if shared is not None:
            value = np.where(shared.enough & ~shared.all, shared.mean, value)
            error = np.where(shared.enough, shared.error, error)
            freedom = np.where(shared.enough, shared.n - 1, freedom)
        lead = self.sign * value - self.excess[rows, None] + self.excess[columns]
        tiny = ROUNDED * np.maximum(np.abs(self.value[rows, None]), np.abs(self.value[columns]))
        return np.where(np.abs(lead) > tiny, lead, 0.0), error, freedom


def _told(column: _Column, groups: Sequence[Group], lowest: float) -> Iterator[Told]:
    """Pairs of all scores, which stand in the order of their groups, that differ by no less than `lowest`."""
    start, count = 0, len(column.value)
    for group in groups:
        end = start + len(group.places)
        for first in range(start, end, ROWS):
            rows = slice(first, min(first + ROWS, end))
            for columns in chain(_slices(first, end), _slices(end, count)):
                own = slice(rows.start - start, rows.stop - start), slice(columns.start - start, columns.stop - start)
                shared = group.shared(*own) if group.paired and columns.start < end else None
                yield _apart(rows, columns, column.lead(rows, columns, shared), lowest)
        start = end


def _slices(start: int, end: int) -> Iterator[slice]:
    return (slice(first, min(first + COLUMNS, end)) for first in range(start, end, COLUMNS))


def _apart(rows: slice, columns: slice, found: tuple[Floats, Floats, Floats], lowest: float) -> Told:
    """Those of a block, of which each pair counts once: where the row stands before the column."""
    lead, error, freedom = found
    row, column = np.arange(rows.start, rows.stop), np.arange(columns.start, columns.stop)
    far = (np.abs(lead) >= lowest * error) & (lead != 0) & (row[:, None] < column)
    i, j = np.nonzero(far)
    return Told(_normal(lead[far], error[far], freedom[far]), np.where(lead[far] > 0, column[j], row[i]))


def _normal(lead: Floats, error: Floats, freedom: Floats) -> Floats:
    """z of a difference, never beyond its t: Student's t by Wallace's approximation (1959), since scipy takes long to import."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        t = np.minimum(np.abs(lead) / error, 1e150)
        z = (8 * freedom + 1) / (8 * freedom + 3) * np.sqrt(freedom * np.log1p(t * t / freedom))
    return np.where(np.isinf(freedom), t, z)
