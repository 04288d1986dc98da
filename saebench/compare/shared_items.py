"""Scores that were measured on like items, as one matrix: means and errors of all their differences at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from saebench.compare.differences import FEWEST_PAIRS, Items
from saebench.record.score import Score
from saebench.stats.statistics import Bools, Floats, Ints

DOUBTFUL = 1e-6
"""Of two scores' squares: where less is left of their difference, rounding may be much of it, and it is computed itself."""


class Shared(NamedTuple):
    """(row, column) differences over the items that both have."""

    mean: Floats
    error: Floats
    n: Floats
    """(1, 1) where it is the same for all."""
    all: Bools
    """Whether neither has other items."""


@dataclass(frozen=True, eq=False)
class Group:
    """Scores of which any two may be paired."""

    places: list[int]
    """Where they stand in their column."""
    each: Floats = field(default_factory=lambda: np.empty((0, 0)))
    """(score, item) contributions; 0 where a score has none."""
    known: Bools = field(default_factory=lambda: np.empty((0, 0), dtype=bool))
    """(score, item) whether it has."""
    sizes: Ints = field(default_factory=lambda: np.empty(0, dtype=int))
    """(score,) items, counted twice where one stands there twice."""
    alike: Ints = field(default_factory=lambda: np.empty(0, dtype=int))
    """(score,) equal numbers where contributions are equal."""

    @property
    def paired(self) -> bool:
        return self.each.size > 0

    @cached_property
    def whole(self) -> bool:
        return bool(self.known.all())

    @cached_property
    def _mask(self) -> Floats:
        return self.known.astype(np.float64)

    @cached_property
    def _centred(self) -> tuple[Floats, Floats]:
        """(score, item) contributions without the item's mean and then without the score's, and the latter (score,)."""
        by_item = self.each.sum(0) / np.maximum(self._mask.sum(0), 1)
        each = (self.each - by_item) * self._mask
        levels = each.sum(1) / np.maximum(self._mask.sum(1), 1)
        return (each - levels[:, None]) * self._mask, levels

    def shared(self, rows: slice, columns: slice) -> Shared:
        """Rows minus columns, as `differences.shared` finds it pair by pair."""
        (centred, levels), known = self._centred, self._mask
        own, other = centred[rows], centred[columns]
        n, rest, squares = self._sums(own, other, known[rows], known[columns])
        left = squares - 2 * own @ other.T - rest**2 / np.maximum(n, 1)
        mean = rest / np.maximum(n, 1) + levels[rows, None] - levels[columns]
        doubtful = (left < DOUBTFUL * squares) & (n >= FEWEST_PAIRS)
        if doubtful.any():
            i, j = np.nonzero(doubtful)
            mean[i, j], left[i, j] = self._one_by_one(rows.start + i, columns.start + j)
        error = np.sqrt(np.maximum(left, 0.0) / np.maximum(n * (n - 1), 1))
        return Shared(mean, error, n, (n == self.sizes[rows, None]) & (n == self.sizes[columns]))

    def _sums(self, own: Floats, other: Floats, known: Floats, also: Floats) -> tuple[Floats, Floats, Floats]:
        """(row, column) of the items that both have: how many, the sum of differences, the sum of both sides' squares."""
        if self.whole:
            squares = (own**2).sum(1)[:, None] + (other**2).sum(1)
            return np.full((1, 1), float(known.shape[1])), np.zeros((1, 1)), squares
        return known @ also.T, own @ also.T - known @ other.T, own**2 @ also.T + known @ (other**2).T

    def _one_by_one(self, rows: Ints, columns: Ints) -> tuple[Floats, Floats]:
        """(pair,) mean and sum of squares around it of these differences; there is none between equal contributions."""
        mean, left = np.zeros(len(rows)), np.zeros(len(rows))
        for pair in np.flatnonzero(self.alike[rows] != self.alike[columns]):
            both = self.known[rows[pair]] & self.known[columns[pair]]
            each = self.each[rows[pair], both] - self.each[columns[pair], both]
            mean[pair], left[pair] = each.mean(), ((each - each.mean()) ** 2).sum()
        return mean, left


def grouped(scores: Sequence[Score], items: Callable[[Score], Items]) -> list[Group]:
    """All scores by what they can be paired with: those whose items have names, those of as many without, and the rest."""
    found: dict[int, list[tuple[int, Items]]] = {}
    for place, score in enumerate(scores):
        own = items(score)
        # Without names, items are paired by their order, if there are as many.
        kind = -1 if "contribution" not in own else 0 if "item" in own else 1 + len(own["contribution"])
        found.setdefault(kind, []).append((place, own))
    alone = [place for kind, some in found.items() if kind < 0 or len(some) < 2 for place, _ in some]
    several = [some for kind, some in found.items() if kind >= 0 and len(some) > 1]
    return [Group(alone), *(_group([place for place, _ in some], [own for _, own in some]) for some in several)]


def _group(places: list[int], items: Sequence[Items]) -> Group:
    at, width = _columns(items)
    each, known = np.zeros((len(items), width)), np.zeros((len(items), width), dtype=bool)
    numbers: dict[tuple[bytes, bytes], int] = {}
    alike = np.empty(len(items), dtype=int)
    for row, (own, (columns, first)) in enumerate(zip(items, at, strict=True)):
        each[row, columns] = np.asarray(own["contribution"], dtype=np.float64)[first]
        known[row, columns] = True
        key = own["contribution"].tobytes(), own["item"].tobytes() if "item" in own else b""
        alike[row] = numbers.setdefault(key, len(numbers))
    return Group(places, each, known, np.array([len(own["contribution"]) for own in items]), alike)


def _columns(items: Sequence[Items]) -> tuple[list[tuple[Ints, Ints]], int]:
    """Of each score's items their columns in the matrix and their places in its array, and how many columns there are."""
    if "item" not in items[0]:
        straight = np.arange(len(items[0]["contribution"]))
        return [(straight, straight)] * len(items), len(straight)
    known = {(own["item"].dtype.str, own["item"].tobytes()): own["item"] for own in items}
    unique = {key: np.unique(names, return_index=True) for key, names in known.items()}
    union = np.unique(np.concatenate([names for names, _ in unique.values()]))
    at = {key: (np.searchsorted(union, names.astype(union.dtype)), first) for key, (names, first) in unique.items()}
    return [at[own["item"].dtype.str, own["item"].tobytes()] for own in items], len(union)
