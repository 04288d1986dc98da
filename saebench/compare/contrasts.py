"""One score minus another, item by item where both were measured on the same."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from saebench.compare import differences, pairwise
from saebench.record.score import Score
from saebench.record.store import Store

NAMES = ("item", "contribution")
"""Of a score's items, those that comparisons read."""


class Contrast(NamedTuple):
    """One score minus another."""

    value: float
    error: float
    """Standard error."""
    freedom: float = math.inf
    """Degrees of freedom of the error: pairs - 1, or infinite where the two are not paired."""


class Compare:
    """Compares by the items that two scores share, and as independent measurements where they share too few."""

    def __init__(self, load: Callable[[Score], differences.Items] | None = None) -> None:
        self._load = load
        self._known: dict[str | None, differences.Items] = {None: {}}
        self._beaten: dict[frozenset[int], dict[int, tuple[Score, int]]] = {}

    def items(self, score: Score) -> differences.Items:
        """What a score has of `NAMES`, read once."""
        if self._load is None:
            return {}
        if score.items not in self._known:
            found = self._load(score)
            self._known[score.items] = {name: found[name] for name in NAMES if name in found}
        return self._known[score.items]

    def __call__(self, score: Score, other: Score) -> Contrast:
        found = differences.shared(score, other, self.items(score), self.items(other))
        if found:
            return Contrast(found.value, found.error, len(found.each) - 1)
        alone = differences.unpaired(score, other)
        return Contrast(alone.value, alone.error)

    def beaten(self, scores: Sequence[Score], level: float) -> list[int]:
        """As `pairwise.beaten` finds it, once for each column: pages ask several times."""
        key = frozenset([hash(level), *map(id, scores)])
        if (found := self._beaten.get(key)) is None:
            times = pairwise.beaten(scores, self.items, level)
            # The scores are kept with it, so that no other one can have the id of one of them.
            found = {id(score): (score, count) for score, count in zip(scores, times, strict=True)}
            if self._load is not None:
                self._beaten[key] = found
        return [found[id(score)][1] for score in scores]


unpaired = Compare()
"""As for independent measurements: wider than needed where both were measured on the same texts."""


def paired_by(store: Store) -> Compare:
    """Compare by the items that lie beside the scores of a store."""
    return Compare(lambda score: differences.loaded(store.load_items, score) or {})
