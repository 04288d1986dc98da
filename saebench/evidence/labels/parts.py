"""What each text of a labelled set is for: learning, choosing, or being scored on."""

from enum import IntEnum

import numpy as np
from jaxtyping import Bool, Int

from saebench.stats.statistics import repetition, seed_of

TESTED = 3
"""Of so many texts of a class, one is scored on."""
VALIDATED = 5
"""Of so many of the others, one chooses how much weights are held back."""
MOST_TRAINED = 512
"""Texts of a class that are learned from, as published: 1,024 in all."""


class Part(IntEnum):
    """What a text is for."""

    UNUSED = -1
    TRAIN = 0
    VALIDATION = 1
    TEST = 2


def parts(kind: Int[np.ndarray, " text"] | Bool[np.ndarray, " text"], name: str) -> Int[np.ndarray, " text"]:
    """The part of each text of a set, as many of each kind in each, which are its classes.

    Nested: a larger budget has the same texts in the same parts, and more. Other repetitions of the random stages draw
    other parts of the same texts.
    """
    found = np.full(len(kind), Part.UNUSED)
    for own in np.unique(kind):
        texts = np.flatnonzero(kind == own)
        if repetition():
            texts = np.random.default_rng(seed_of(f"labels.parts.{name}.{int(own)}")).permutation(texts)
        found[texts] = _of_class(len(texts))
    return found


def _of_class(count: int) -> Int[np.ndarray, " text"]:
    place = np.arange(count)
    tested = place % TESTED == TESTED - 1
    learned = np.cumsum(~tested) - 1
    found = np.where(learned % VALIDATED == VALIDATED - 1, Part.VALIDATION, Part.TRAIN)
    found = np.where(learned < MOST_TRAINED, found, Part.UNUSED)
    return np.where(tested, Part.TEST, found)
