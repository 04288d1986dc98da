"""Questions with four answers of which one is right, as token ids: what a model is asked before and after an edit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from saebench.record.score import Unscored
from saebench.stats.statistics import Bools, fixed_seed_of

LOOKED_AT = 40
"""How many times more candidates are looked at than are asked, at most."""


@dataclass(frozen=True)
class One:
    """A question: ids up to where the answer follows, and the ids of four answers, the right one first."""

    unit: str
    """What it is about. Questions of one unit are not independent, and are all of the same part."""
    prompt: tuple[int, ...]
    """Of several questions with the same beginning, each may be asked in the longest one's pass."""
    options: tuple[int, ...]
    among: tuple[int, ...] = ()
    """The longest text that it is asked in, where it is not its own; it begins with the prompt."""

    @property
    def row(self) -> tuple[int, ...]:
        return self.among or self.prompt


@dataclass(frozen=True)
class Questions:
    """All questions of a topic and of what is to stay, for validation and for the test."""

    tokens: Int[Tensor, "row position"]
    """What follows a row's end is filling, which no question sees."""
    row: Int[np.ndarray, " question"]
    position: Int[np.ndarray, " question"]
    """Where in its row the answer follows."""
    options: Int[Tensor, "question option"]
    """Token ids, the right one first."""
    unit: tuple[str, ...]
    retain: Bool[np.ndarray, " question"]
    """Whether it is about what is to stay."""
    test: Bool[np.ndarray, " question"]
    """Whether it is asked once, of what validation chose."""
    whole: bool = False
    """Whether a unit is one question in several orders of its answers, which is known only if it is in all of them."""

    def known(self, right: Bool[np.ndarray, " question"]) -> Bool[np.ndarray, " question"]:
        """Of questions that are answered rightly, those that count as known."""
        if not self.whole:
            return right
        _, unit = np.unique(np.array(self.unit), return_inverse=True)
        known: Bools = (np.bincount(unit, weights=~right) == 0)[unit]
        return known


def is_test(unit: str) -> bool:
    """Whether questions about a unit are for the test; a half of all units are, whoever asks."""
    return fixed_seed_of(f"unlearning.test {unit}") % 2 == 1


def chosen(questions: Iterable[One], validation: int, test: int) -> list[One]:
    """The first so many for validation and the first so many for the test, or as many as there are."""
    found: dict[bool, list[One]] = {False: [], True: []}
    counts = {False: validation, True: test}
    for one in islice(questions, LOOKED_AT * (validation + test)):
        part = is_test(one.unit)
        if len(found[part]) < counts[part]:
            found[part].append(one)
        if all(len(found[part]) == count for part, count in counts.items()):
            break
    return [*found[False], *found[True]]


def together(forget: Sequence[One], retain: Sequence[One], *, whole: bool = False) -> Questions:
    """Raises Unscored where there are none of one side."""
    if not forget or not retain:
        raise Unscored(f"{len(forget)} questions about the topic and {len(retain)} about all else: there is no answer")
    every = [*forget, *retain]
    rows = {row: number for number, row in enumerate(dict.fromkeys(one.row for one in every))}
    width = max(map(len, rows))
    tokens = torch.tensor([[*row, *[row[0]] * (width - len(row))] for row in rows])
    return Questions(
        tokens=tokens, row=np.array([rows[one.row] for one in every], dtype=np.intp),
        position=np.array([len(one.prompt) - 1 for one in every], dtype=np.intp),
        options=torch.tensor([one.options for one in every]), unit=tuple(one.unit for one in every),
        retain=np.arange(len(every)) >= len(forget), test=np.array([is_test(one.unit) for one in every]), whole=whole,
    )  # fmt: skip


def single_tokens(tokenizer: Any, words: Iterable[str]) -> dict[str, int]:
    """Id of each word that is one token after a space."""
    words = sorted(set(words))
    ids = tokenizer([f" {word}" for word in words], add_special_tokens=False, verbose=False)["input_ids"]
    return {word: each[0] for word, each in zip(words, ids, strict=True) if len(each) == 1}
