"""Cloze questions made of any texts by a rule: a word that the passage before it has already.

After the Children's Book Test (arXiv 1511.02301): *named*, a word that is capitalised within a sentence, and *common*, a
lower-case one that few texts have, among others of the same class of the same passage. After LAMBADA (arXiv 1606.06031):
*final*, the last word of a sentence, without options. Nobody has checked whether a person could tell the answer.
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from saebench.record.questions import MOST_OPTIONS, Question
from saebench.stats.statistics import fixed_seed_of

VERSION = 1
"""Of the rule: part of the identity of scores."""
WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
WITHIN = re.compile(r"[\w,;] $")
"""What comes before a word that does not begin a sentence."""
END = re.compile(r"[.!?](?=\s|$)")
RARE = 0.05
"""Largest share of texts that a common word of a question stands in: others are grammar, or the subject of all texts."""
SHORTEST = 4
"""Letters of a common word."""
FEWEST_OTHERS = 4
"""Wrong options."""
COUNTED = 1000
"""Texts in which words are counted."""
LETTERS = 12
"""Characters per token that are more than nearly any text has."""


@dataclass(frozen=True)
class _Word:
    text: str
    start: int
    kind: str
    """`named`, `common`, or empty."""
    final: bool
    """Whether a sentence ends with it."""


def rare_words(texts: Sequence[str]) -> frozenset[str]:
    """Lower-case words of at most `RARE` of the first `COUNTED` texts."""
    counted = Counter(word for text in texts[:COUNTED] for word in set(WORD.findall(text)))
    most = RARE * len(texts[:COUNTED])
    return frozenset(word for word, times in counted.items() if times <= most and word.islower())


def questions(
    texts: Sequence[str], low: int, high: int, documents: int, tokens: Callable[[str], int]
) -> list[Question]:
    """Up to three questions, one of each kind, of each of the first `documents` texts that have any.

    Passages have more than `low` and at most `high` tokens.
    """
    rare, found, kept = rare_words(texts), list[Question](), 0
    for number, text in enumerate(texts):
        asked = list(_of_text(text[: high * LETTERS], number, rare, low, high, tokens))
        found, kept = found + asked, kept + bool(asked)
        if kept == documents:
            break
    return found


def _of_text(
    text: str, number: int, rare: frozenset[str], low: int, high: int, tokens: Callable[[str], int]
) -> Iterator[Question]:
    words = [_word(text, match, rare) for match in WORD.finditer(text)]
    length = lambda word: tokens(text[: word.start].rstrip())  # noqa: E731
    first, end = (bisect_right(words, edge, key=length) for edge in (low, high))
    rng = np.random.default_rng([fixed_seed_of("downstream.cloze of texts"), number])
    for kind in ("named", "common", "final"):
        # In an order that is drawn, so that words at the end of the passage are no likelier than others.
        for at in (first + rng.permutation(end - first)).tolist():
            if (asked := _question(text, words, at, kind, rng)) is not None:
                yield Question(*asked, kind=kind, text=f"{low}-{high}/{number}")
                break


def _word(text: str, match: re.Match[str], rare: frozenset[str]) -> _Word:
    word, start = match[0], match.start()
    named = (
        word[0].isupper()
        and not word.isupper()
        and len(word) > 2
        and bool(WITHIN.search(text[max(0, start - 2) : start]))
    )
    common = word in rare and len(word) >= SHORTEST
    kind = "named" if named else "common" if common else ""
    return _Word(word, start, kind, bool(END.match(text, match.end())))


def _question(
    text: str, words: list[_Word], at: int, kind: str, rng: np.random.Generator
) -> tuple[str, str, tuple[str, ...]] | None:
    """Passage, answer and other options; None where the word makes no question of this kind."""
    word, before = words[at], words[:at]
    class_ = word.kind if kind == "final" else kind
    if (
        word.kind != class_
        or not class_
        or (kind == "final" and not word.final)
        or text[word.start - 1 : word.start] != " "
    ):
        return None
    known = dict.fromkeys(other.text for other in before if other.kind == class_)
    passage = text[: word.start].rstrip()
    if word.text not in known:
        return None
    if kind == "final":
        return passage, word.text, ()
    others = [other for other in known if other.lower() != word.text.lower()]
    chosen = rng.permutation(len(others))[: MOST_OPTIONS - 1].tolist()
    return (passage, word.text, tuple(others[i] for i in sorted(chosen))) if len(chosen) >= FEWEST_OTHERS else None
