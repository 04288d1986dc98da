"""Texts of labelled sets in rows of one length, so that probes of all sets are fitted together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Int

from saebench.evidence.labels.parts import Part
from saebench.stats.statistics import seed_of

if TYPE_CHECKING:
    from saebench.evidence.labels.readings import Readings


@dataclass(frozen=True, eq=False)
class Layout:
    """Texts of sets, in rows of one length: filling is of no part."""

    names: tuple[str, ...]
    text: Int[np.ndarray, "set text"]
    """Index of each text; 0 where there is none."""
    positive: Bool[np.ndarray, "set text"]
    part: Int[np.ndarray, "set text"]

    @classmethod
    def of(cls, readings: Readings, chosen: Sequence[int], positive: Bool[np.ndarray, " text"] | None = None) -> Layout:
        """Of some of the sets, in their order; with other labels where they are given."""
        labels = readings.positive if positive is None else positive
        rows = [np.flatnonzero(readings.set_of == i) for i in chosen]
        width = max(map(len, rows))
        there = np.arange(width) < np.array([len(row) for row in rows])[:, None]
        text = np.stack([np.pad(row, (0, width - len(row))) for row in rows])
        part = np.where(there, readings.part[text], Part.UNUSED)
        return cls(tuple(readings.names[i] for i in chosen), text, labels[text] & there, part)

    @classmethod
    def moved(cls, readings: Readings, pairs: Sequence[tuple[int, int]]) -> Layout:
        """Of pairs of sets: what is learned on the first, and asked of all texts of the second."""
        home, away = cls.of(readings, [a for a, _ in pairs]), cls.of(readings, [b for _, b in pairs])
        own = np.where(home.part == Part.TEST, Part.UNUSED, home.part)
        there = np.arange(away.text.shape[1]) < np.array([(readings.set_of == b).sum() for _, b in pairs])[:, None]
        part = np.concatenate([own, np.where(there, Part.TEST, Part.UNUSED)], axis=1)
        text, positive = (
            np.concatenate([getattr(home, name), getattr(away, name)], axis=1) for name in ("text", "positive")
        )
        return cls(home.names, text, positive, part)

    def above(self, other: Layout) -> Layout:
        """Its sets, and those of another one of the same shape behind them."""
        text, positive, part = (
            np.concatenate([getattr(self, name), getattr(other, name)]) for name in ("text", "positive", "part")
        )
        return Layout(self.names + other.names, text, positive, part)

    def each(self) -> Iterator[Layout]:
        """One set after the other."""
        for i in range(len(self.names)):
            at = slice(i, i + 1)
            yield Layout(self.names[at], self.text[at], self.positive[at], self.part[at])

    def mask(self, *parts: Part) -> Bool[np.ndarray, "set text"]:
        return np.isin(self.part, parts)


def asked(readings: Readings) -> list[int]:
    """Sets that are learned on, each for its own sake."""
    return [i for i, one in enumerate(readings.plan.sets) if not one.apart]


def shuffled(readings: Readings) -> Bool[np.ndarray, " text"]:
    """Labels that were dealt out anew within each set: what a probe says of them is chance."""
    rng = np.random.default_rng(seed_of("labels.shuffled"))
    found = readings.positive.copy()
    for i in range(len(readings.names)):
        own = readings.set_of == i
        found[own] = rng.permutation(found[own])
    return found
