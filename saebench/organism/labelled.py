"""Texts of the world with one thing that is true or not of each: what a probe may read of a text's last token."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from saebench.organism.lexicon import Lexicon
from saebench.organism.world import READING, Document, World

VERSION = 1
"""Of which texts there are, and what is true of them."""
WORDS = 60
"""Of a document, so many are read: fewer than most SAEs saw in training."""
DOCUMENTS = 4000
"""From which documents of a kind are drawn."""
CROSSED = ("story", "encyclopedia", "dialogue", "letter", "recipe", "lists")
MOODS = ("positive", "negative")
FEWEST = 12
"""Entities of each class, below which nothing is asked of their attribute."""
SEEN = ("I see the", "Where is the", "They like the", "It was the", "We took the", "This is the")
VISITED = ("They live in", "A road to", "We went to")
MET = ("This is", "I met", "They know")
Fact = tuple[str, str]
"""A text, and what is true of it."""


@dataclass(frozen=True)
class LabelledSet:
    """Texts, and whether what the set is about is true of each."""

    name: str
    texts: tuple[str, ...]
    positive: tuple[bool, ...]
    apart: bool = False
    """Whether it is only there for what is learned on another set to be asked of, or for its two labels."""
    other: tuple[bool, ...] = ()
    """Whether something else is true of each; of few sets."""

    def first(self, count: int) -> "LabelledSet":
        """With the first of its texts alone."""
        return LabelledSet(self.name, self.texts[:count], self.positive[:count], self.apart, self.other[:count])


def crossed(name: str, cells: dict[tuple[bool, bool], list[str]], most: int) -> LabelledSet:
    """A set of texts of which two things are known, as many of each of the four kinds, in turn; at most `most` in all."""
    rng = random.Random(f"labels/{name}")
    size = min(most // 4, *map(len, cells.values()))
    kinds = sorted(cells)
    drawn = [rng.sample(cells[kind], len(cells[kind]))[:size] for kind in kinds]
    texts = tuple(text for four in zip(*drawn, strict=True) for text in four)
    return LabelledSet(name, texts, tuple(a for a, _ in kinds) * size, True, tuple(b for _, b in kinds) * size)


def labelled_sets(world: World, each: int) -> Iterator[LabelledSet]:
    """Sets of at most `each` texts, half of which are positive: of whole documents, of words, of people and cities."""
    documents = [world.document(f"labels/{i}", READING) for i in range(DOCUMENTS)]
    begun = [(" ".join(document.text.split(" ")[: WORDS + 1]), document) for document in documents]
    for kind, value in _of_documents(world.lexicon).items():
        yield from _one_against_rest(kind, [(text, value(document)) for text, document in begun], each)
    yield from _pairs(begun, each)
    for kind, facts in _of_words(world.lexicon).items():
        yield from _one_against_rest(kind, facts, each)


def crossed_names() -> dict[str, tuple[str, str]]:
    """Genres that texts of a set are of, each of which is of one of two moods, by the set's name."""
    return {f"{a} or {b} x mood": (a, b) for a, b in zip(CROSSED, (*CROSSED[1:], CROSSED[0]), strict=True)}


def _pairs(documents: list[tuple[str, Document]], most: int) -> Iterator[LabelledSet]:
    """Documents of two genres and two moods each, so that one can be mistaken for the other."""
    for name, (a, b) in crossed_names().items():
        cells: dict[tuple[bool, bool], list[str]] = {(x, y): [] for x in (True, False) for y in (True, False)}
        for text, document in documents:
            if document.genre in (a, b) and document.sentiment in MOODS:
                cells[document.genre == a, document.sentiment == MOODS[0]].append(text)
        yield crossed(name, cells, most)


def _of_documents(lexicon: Lexicon) -> dict[str, Callable[[Document], str]]:
    return {
        "genre": lambda document: document.genre,
        "topic": lambda document: document.topic,
        "sentiment": lambda document: document.sentiment,
        "alliteration": lambda document: "some" if document.letter else "none",
    }


def _of_words(lexicon: Lexicon) -> dict[str, list[Fact]]:
    """Sentences that end in a word of the lexicon, a person's or a city's name: each in one of them alone."""
    rng = random.Random("labels/words")

    def said(text: str, starts: tuple[str, ...]) -> str:
        return f" {rng.choice(starts)} {text}"

    return {
        "category": [(said(word.text, SEEN), word.category) for word in lexicon.words],
        "continent": [(said(city.name, VISITED), city.continent) for city in lexicon.cities],
        "home": [(said(person.name, MET), person.home.continent) for person in lexicon.people],
    }


def _one_against_rest(kind: str, facts: list[Fact], each: int) -> Iterator[LabelledSet]:
    """One set per value that enough texts have, with as many texts of other values."""
    values = sorted({value for _, value in facts})
    for value in values[:1] if len(values) == 2 else values:
        rng = random.Random(f"labels/{kind}/{value}")
        own, others = ([text for text, v in facts if (v == value) == own] for own in (True, False))
        size = min(each // 2, len(own), len(others))
        if size >= FEWEST:
            # In turn, so that the first of them are as many of both.
            pairs = zip(*(rng.sample(texts, len(texts))[:size] for texts in (own, others)), strict=True)
            texts = tuple(text for pair in pairs for text in pair)
            yield LabelledSet(f"{kind}: {value}", texts, (True, False) * size)
