"""Concepts and their words: first letters of any vocabulary, or a set given as data, a TOML of words per concept."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

import numpy as np

from saebench.evidence.words.vocabulary import Split, Word, WordFilter
from saebench.record.naming import nearest
from saebench.record.places import fixtures_dir
from saebench.record.plain_text import read_toml
from saebench.record.score import Unscored
from saebench.stats.statistics import seed_of

if TYPE_CHECKING:
    from jaxtyping import Bool

LETTERS = "letters"
"""The concept set of first letters, which has a file like all others."""
TEMPLATE = r"[^{}]*\{word\}[^{}]*(\{concept\}[^{}]*)?"
POOL = 2
"""In-context examples are drawn from a pool of this many times as many words, which are not read themselves."""


@dataclass(frozen=True)
class ConceptSet:
    """What words are told apart by, and the prompt that they are read in."""

    name: str
    template: str
    """One line with `{word}`, and with `{concept}` where it says what the word is."""
    members: dict[str, frozenset[str]]
    """Words, without spaces, of every concept; empty for letters, which any word has."""
    about: str = ""
    separator: str = "\n"
    """What follows each in-context example."""

    @cached_property
    def concepts(self) -> tuple[str, ...]:
        return tuple(self.members or ascii_uppercase)

    @property
    def digest(self) -> str:
        content = [self.template, self.separator, *(f"{name}:{sorted(words)}" for name, words in self.members.items())]
        return hashlib.sha256("\n".join(content).encode()).hexdigest()[:8]

    def knows(self, word: Word) -> bool:
        return not self.members or any(word.text.strip() in words for words in self.members.values())

    def of(self, word: Word) -> list[str]:
        """Concepts of a word, most general first if the set is written so."""
        if not self.members:
            return [word.letter]
        return [name for name, words in self.members.items() if word.text.strip() in words]

    def membership(self, words: Sequence[Word]) -> Bool[np.ndarray, "word concept"]:
        """(word, concept)"""
        column = {name: i for i, name in enumerate(self.concepts)}
        member = np.zeros((len(words), len(column)), dtype=bool)
        for row, word in enumerate(words):
            member[row, [column[name] for name in self.of(word)]] = True
        return member

    def example(self, word: Word) -> str:
        """The word's line with its answer, as it stands in a prefix."""
        return self.template.format(word=word.text, concept=self.of(word)[0]) + self.separator

    @property
    def before(self) -> str:
        """What stands before the word in its line."""
        return self.template.partition("{word}")[0]

    def query(self, word: Word) -> str:
        """The word's line up to where the answer would follow."""
        return self.template.partition("{concept}")[0].rstrip(" ").format(word=word.text)


@dataclass(frozen=True)
class Plan:
    """Which words are read, and after what: part of the identity of every score of words."""

    concepts: ConceptSet
    filter: WordFilter
    prefixes: int = 8
    examples: int = 10
    most: int | None = None
    """With more words than this, a sample of them by hash."""
    reference: str = ""
    """Texts in which tokens are counted, where the filter asks for those that occur."""

    @property
    def name(self) -> str:
        seen = f"-in-{self.reference}" if self.filter.seen else ""
        words = f"{self.filter.name}{seen},{'all' if self.most is None else f'up-to-{self.most}'}"
        return f"words/{self.concepts.name}@{self.concepts.digest}/{words}/{self.prefixes}x{self.examples}"

    def chosen(self, words: list[Word]) -> list[Word]:
        if self.most is None or len(words) <= self.most:
            return words
        kept = set(sorted(words, key=lambda word: seed_of(f"sample {word.text}"))[: self.most])
        return [word for word in words if word in kept]


def load_concepts(name: str) -> ConceptSet:
    """`letters`, a name of fixtures/concepts/NAME.toml, or a path of a TOML file.

    Raises ValueError with the nearest name if there is no such set, or if the file is not one.
    """
    if name == LETTERS:
        return ConceptSet(LETTERS, "{word} has the first letter: {concept}", {}, "first letters")
    path = Path(name) if name.endswith(".toml") else concepts_dir() / f"{name}.toml"
    if not path.is_file():
        known = available()
        raise ValueError(f"{name}: no such concept set.{nearest(name, known)} Known: {', '.join(known)}; or a TOML")
    data = read_toml(path)
    if problem := _problem(data):
        raise ValueError(f"{path}: {problem}")
    members = {concept: frozenset(words) for concept, words in data["concepts"].items()}
    return ConceptSet(path.stem, data["template"], members, data.get("about", ""))


def _problem(data: dict[str, Any]) -> str:
    """What is wrong with the content of a set's file, in a sentence; nothing if it is as it should be."""
    known = ("about", "template", "concepts")
    if unknown := [key for key in data if key not in known]:
        return f"unknown key {unknown[0]!r}.{nearest(unknown[0], known)} Known: {', '.join(known)}"
    template, concepts = data.get("template"), data.get("concepts")
    if not isinstance(template, str) or not re.fullmatch(TEMPLATE, template):
        return f"template is {template!r}, and should be a line with {{word}}, and {{concept}} after it if it has one"
    if not isinstance(data.get("about", ""), str):
        return f"about is {data['about']!r}, and should be text"
    if not isinstance(concepts, dict) or not concepts:
        return "it needs a table [concepts] of word lists"
    for concept, words in concepts.items():
        if not isinstance(words, list) or not words or not all(isinstance(w, str) and w.isalpha() for w in words):
            return f"concept {concept!r} is {words!r:.60}, and should be a list of words, which are letters only"
    return ""


def concepts_dir() -> Path:
    return fixtures_dir() / "concepts"


def available() -> list[str]:
    """Names of all sets that ship."""
    return [LETTERS, *sorted(path.stem for path in concepts_dir().glob("*.toml"))]


def prefixes(concepts: ConceptSet, words: Sequence[Word], count: int, examples: int) -> tuple[list[str], set[Word]]:
    """Seeded in-context prefixes, and the train words in them, which are then not read.

    Examples look like words of running text: a space, then at least three small letters, where there are enough. Where
    train words are few, there are fewer examples, so that three in four are left. Raises Unscored below two.
    """
    train = [word for word in words if word.split is Split.TRAIN]
    plain = [word for word in train if len(word.text) > 3 and word.text[0] == " " and word.text[1:].islower()]
    rng = random.Random(seed_of(f"prefixes of {concepts.name}"))
    pool_size = POOL * examples
    source = plain if len(plain) >= 2 * pool_size else train
    pool = rng.sample(source, min(pool_size, len(source) // 4))
    if len(pool) < 2:
        raise Unscored(f"{len(words)} words of {concepts.name} are one token each, too few for examples in a prompt")
    drawn = [rng.sample(pool, min(examples, len(pool))) for _ in range(count)]
    return ["".join(map(concepts.example, sample)) for sample in drawn], {word for sample in drawn for word in sample}
