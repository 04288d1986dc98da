"""All pairs of a column at once, in blocks: the same verdicts as pair by pair, for thousands of SAEs."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np

from saebench.compare.differences import FEWEST_PAIRS, Items
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
    """Of a block of pairs, those that a test of each by itself tells apart."""

    rows: Ints
    """(row,) how often each is the worse, in pairs that are told apart whatever the others are."""
    columns: Ints
    z: Floats
    """(pair,) of the others the normal quantile of the p-value."""
    worse: Ints
    """(pair,) which one is the worse."""


def beaten(scores: Sequence[Score], items: Callable[[Score], Items], level: float) -> list[int]:
    """By how many of a column's scores each is clearly beaten, at a level for all of its pairs together (Holm 1979)."""
    groups = grouped(scores, items)
    order = np.array([place for group in groups for place in group.places], dtype=int)
    pairs, counts = math.comb(len(order), 2), np.zeros(len(order), dtype=int)
    rest: list[tuple[Floats, Ints]] = [(np.empty(0), np.empty(0, dtype=int))]
    column, lowest, sure = _Column.of([scores[place] for place in order]), least(level, 1), least(level, pairs)
    for block in _blocks(groups):
        told = _apart(block, column, lowest, sure)
        counts[block.rows] += told.rows
        counts[block.columns] += told.columns
        rest.append((told.z, told.worse))
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
        error, freedom = np.empty((1, 1)), np.full((1, 1), math.inf)
        enough = shared is not None and shared.n >= FEWEST_PAIRS
        if not np.all(enough):
            error = np.hypot(self.half[rows, None], self.half[columns]) / NORMAL
        if shared is not None:
            value = value if shared.all.all() else np.where(enough & ~shared.all, shared.mean, value)
            error = shared.error if np.all(enough) else np.where(enough, shared.error, error)
            freedom = np.where(enough, shared.n - 1, freedom)
        lead = self.sign * value - self.excess[rows, None] + self.excess[columns]
        tiny = ROUNDED * np.maximum(np.abs(self.value[rows, None]), np.abs(self.value[columns]))
        lead[np.abs(lead) <= tiny] = 0.0
        return lead, error, freedom


class _Block(NamedTuple):
    """Pairs of scores, which stand in the order of their groups."""

    rows: slice
    columns: slice
    group: Group
    """That of the rows."""
    start: int
    """Where it begins."""

    @property
    def shared(self) -> Shared | None:
        """None where rows and columns are of two groups."""
        if not self.group.paired or self.columns.start >= self.start + len(self.group.places):
            return None
        within = (slice(part.start - self.start, part.stop - self.start) for part in (self.rows, self.columns))
        return self.group.shared(*within)


def _blocks(groups: Sequence[Group]) -> Iterator[_Block]:
    start, count = 0, sum(len(group.places) for group in groups)
    for group in groups:
        end = start + len(group.places)
        for rows in _slices(start, end, ROWS):
            for columns in chain(_slices(rows.start, end, COLUMNS), _slices(end, count, COLUMNS)):
                yield _Block(rows, columns, group, start)
        start = end


def _slices(start: int, end: int, size: int) -> Iterator[slice]:
    return (slice(first, min(first + size, end)) for first in range(start, end, size))


def _apart(block: _Block, column: _Column, lowest: float, sure: float) -> Told:
    """Pairs beyond `lowest`, and those beyond `sure`; each counts once, where the row stands before the column."""
    rows, columns = block.rows, block.columns
    lead, error, freedom = column.lead(rows, columns, block.shared)
    if columns.start < rows.stop:
        lead[np.arange(rows.start, rows.stop)[:, None] >= np.arange(columns.start, columns.stop)] = 0.0
    size = np.abs(lead)
    told = (size >= lowest * error) & (lead != 0)
    far = told & (size >= _students(sure, freedom) * error)
    i, j = np.nonzero(told & ~far)
    z = _normal(size[i, j] / error[i, j], np.broadcast_to(freedom, lead.shape)[i, j])
    worse = np.where(lead[i, j] > 0, columns.start + j, rows.start + i)
    return Told((far & (lead < 0)).sum(1), (far & (lead > 0)).sum(0), z, worse)


def _normal(t: Floats, freedom: Floats) -> Floats:
    """z of a t, which it never is beyond: Wallace's approximation (1959), since scipy takes long to import."""
    with np.errstate(invalid="ignore"):
        z = (8 * freedom + 1) / (8 * freedom + 3) * np.sqrt(freedom * np.log1p(t * t / freedom))
    return np.where(np.isinf(freedom), t, z)


def _students(z: float, freedom: Floats) -> Floats:
    """t of a z, the same backwards."""
    with np.errstate(invalid="ignore", over="ignore"):
        t = np.sqrt(freedom * np.expm1((z * (8 * freedom + 3) / (8 * freedom + 1)) ** 2 / freedom))
    return np.where(np.isinf(freedom), z, t)
