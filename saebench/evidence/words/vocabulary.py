"""The words of a model: tokens that are letters only after at most one leading space."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from saebench.stats.statistics import seed_of

if TYPE_CHECKING:
    from jaxtyping import Bool, Int

Case = Literal["any", "lower", "capital"]
Space = Literal["any", "required"]
SHARES = (0.45, 0.2)
"""Of train and validation words; the others are test words."""


FEWEST_WORDS = 5
"""Train, validation and test words of a concept, with fewer of which it is left out."""
FEWEST_CONCEPTS = 3
"""Concepts with fewer of which there is no score."""
EDITED = 10
"""Words per concept at which the activation is edited."""
BYTE = re.compile("<0x[0-9A-F]{2}>")


class Split(IntEnum):
    """Probes are fitted on train words, choices are made on validation words, scores come from test words."""

    TRAIN = 0
    VALIDATION = 1
    TEST = 2


@dataclass(frozen=True)
class WordFilter:
    """Which words are read; part of the identity of every score of words."""

    case: Case = "any"
    space: Space = "any"
    """Whether only tokens with a leading space count, which begin a word in running text."""
    shortest: int = 1
    longest: int = 64
    seen: int = 0
    """Fewest times that the token occurs in the reference texts: drops what only merging made a token."""

    @property
    def name(self) -> str:
        return f"{self.case}-case,{self.space}-space,{self.shortest}-{self.longest}-letters,seen-{self.seen}"

    def keeps(self, text: str) -> bool:
        """Whether a token's text, with its leading space if it has one, passes."""
        word = text.removeprefix(" ")
        if not (word.isascii() and word.isalpha() and self.shortest <= len(word) <= self.longest):
            return False
        if self.space == "required" and word == text:
            return False
        return self.case == "any" or (word.islower() if self.case == "lower" else word[0].isupper())


@dataclass(frozen=True)
class Word:
    """One token."""

    text: str
    """With its leading space, if it has one."""
    token: int

    @property
    def letter(self) -> str:
        return self.text.removeprefix(" ")[0].upper()

    @property
    def split(self) -> Split:
        """By a hash of the word without its space, so that all forms of writing it fall on one side."""
        share = hashlib.sha256(self.text.strip().lower().encode()).digest()[0] / 256
        return Split.TRAIN if share < SHARES[0] else Split.VALIDATION if share < sum(SHARES) else Split.TEST


def turn(text: str, count: int) -> int:
    """Which of some prefixes a word takes where it is read after one only: by a hash, whatever other words there are."""
    return int.from_bytes(hashlib.sha256(f"turn of {text}".encode()).digest()[:4], "big") % count


def in_turn(texts: Sequence[str], words: Int[np.ndarray, " chosen"]) -> Int[np.ndarray, " chosen"]:
    """Some words in the order in which they are edited: by a hash of the text, whatever other words there are."""
    return words[np.argsort([seed_of(f"edit {texts[word]}") for word in words.tolist()], kind="stable")]


def one_reading_each(texts: Sequence[str], prefixes: int) -> Bool[np.ndarray, " row"]:
    """(row,) one of the readings of every word, where row `word * prefixes + prefix` is a reading."""
    turns = np.array([turn(text, prefixes) for text in texts])
    return np.asarray((np.arange(prefixes)[None, :] == turns[:, None]).ravel())


def token_texts(tokenizer: Any, tokens: Sequence[int] | None = None) -> list[str]:
    """Text of some token ids, or all, as it stands inside a line, for byte-level BPE and for SentencePiece alike.

    A tokenizer may strip the space of a first token, so that each is decoded after another one.
    """
    anchor = tokenizer("a", add_special_tokens=False)["input_ids"]
    before = tokenizer.decode(anchor, clean_up_tokenization_spaces=False)
    ids = [[*anchor, token] for token in (range(len(tokenizer)) if tokens is None else tokens)]
    decoded = tokenizer.batch_decode(ids, clean_up_tokenization_spaces=False)
    return [text.removeprefix(before) if text.startswith(before) else "" for text in decoded]


def words_of(tokenizer: Any, chosen: WordFilter, counts: Sequence[int] | None = None) -> list[Word]:
    """All words of the tokenizer that pass the filter, by token id.

    `counts` says how often each token id occurs in the reference texts; needed only where the filter asks for it.
    Special tokens and single bytes are no words, whatever they look like, nor is a token whose text an earlier one has.
    """
    if chosen.seen and counts is None:
        raise ValueError("a filter for words that were seen needs counts of tokens")
    special = _not_text(tokenizer)
    found: dict[str, Word] = {}
    for token, text in enumerate(token_texts(tokenizer)):
        rare = chosen.seen > 0 and counts is not None and counts[token] < chosen.seen
        if token not in special and not rare and chosen.keeps(text):
            found.setdefault(text, Word(text, token))
    return list(found.values())


def _not_text(tokenizer: Any) -> set[int]:
    """Special tokens, and bytes that a SentencePiece tokenizer falls back to where it has no piece."""
    special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    names = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    return special | set(tokenizer.all_special_ids) | {i for i, name in enumerate(names) if BYTE.fullmatch(name or "")}
