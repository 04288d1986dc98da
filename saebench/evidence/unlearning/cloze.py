"""Questions made of real texts: which of four words comes next, all of which come next in texts of the same side."""

import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

from saebench.evidence.unlearning.options import OPTIONS
from saebench.evidence.unlearning.questions import One
from saebench.stats.statistics import fixed_seed_of
from saebench.subject.corpora import token_ids

LONGEST = 40
"""Tokens of a text that is asked about."""
KNOWN = 12
"""Tokens that are read before the first question."""
APART = 2
"""Tokens from one question of a text to the next, at least."""
LETTERS = re.compile(r" [a-z]{4,}")
"""What counts as a word that says something: four small letters or more, after a space."""
TRIES = 12
"""Draws of wrong answers; words that repeat are not offered twice."""


def cloze(tokenizer: Any, texts: Sequence[str], key: str) -> Iterator[One]:
    """Questions text by text, several of each, in the order of the texts.

    Wrong answers are drawn from the right ones of other texts, as often as they occur there, so that no word is more
    likely to be right than another by itself.
    """
    rows = [ids[:LONGEST] for ids in token_ids(tokenizer, [text[: LONGEST * 20] for text in texts])]
    rows = [row for row in rows if len(row) == LONGEST]
    words = _words(tokenizer, rows)
    found = [(number, place) for number, row in enumerate(rows) for place in _places(row, words)]
    answers = [rows[number][place] for number, place in found]
    for number, place in found:
        row = rows[number]
        rng = random.Random(fixed_seed_of(f"{key} {row[:place]}"))
        others = [word for word in dict.fromkeys(rng.choices(answers, k=TRIES)) if word not in row]
        if len(others) >= OPTIONS - 1:
            options = (row[place], *others[: OPTIONS - 1])
            yield One(f"{key} {row[1:KNOWN]}", tuple(row[:place]), options, tuple(row))


def _words(tokenizer: Any, rows: Sequence[Sequence[int]]) -> dict[int, str]:
    """What each id of the rows reads as."""
    ids = sorted({token for row in rows for token in row})
    return dict(zip(ids, tokenizer.batch_decode([[token] for token in ids]), strict=True))


def _places(row: Sequence[int], words: dict[int, str]) -> list[int]:
    """Where a whole word that is new to the text comes next, some tokens apart."""
    found: list[int] = []
    for place in range(KNOWN, len(row) - 1):
        whole = LETTERS.fullmatch(words[row[place]]) and not words[row[place + 1]][:1].isalnum()
        apart = not found or place - found[-1] >= APART
        if whole and apart and row[place] not in row[:place]:
            found.append(place)
    return found
