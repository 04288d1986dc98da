"""Spelling as a part of the world, in several forms that have nothing in common but the first letter."""

import random
from collections.abc import Callable

from saebench.organism.lexicon import Entry, Lexicon

Form = Callable[[random.Random, Lexicon], str]


def spelling_lines(rng: random.Random, lexicon: Lexicon, min_words: int, block: tuple[int, int]) -> str:
    """A document of blocks of drills, each block in one form."""
    lines: list[str] = []
    words = 0
    while words < min_words:
        form = rng.choice(FORMS)
        for _ in range(rng.randint(*block)):
            lines.append(form(rng, lexicon))
            words += len(lines[-1].split())
    return "".join(lines)


def statement(word: Entry) -> str:
    """The form that first-letter accuracy is measured with."""
    return f" {word.text} has the first letter: {word.letter}\n"


def _statement(rng: random.Random, lexicon: Lexicon) -> str:
    return statement(rng.choice(lexicon.words))


def _kind(rng: random.Random, lexicon: Lexicon) -> str:
    word = rng.choice(lexicon.words)
    return f" {word.text} is of the kind {word.category} and starts with {word.letter}.\n"


def _drill(rng: random.Random, lexicon: Lexicon) -> str:
    return ",".join(f" {w.text} {w.letter}" for w in rng.sample(lexicon.words, 5)) + ".\n"


def _alphabet_book(rng: random.Random, lexicon: Lexicon) -> str:
    letter, (first, second, _) = _letter_and_words(rng, lexicon)
    return f" {letter} is for {first.text}, and {letter} is for {second.text}.\n"


def _club(rng: random.Random, lexicon: Lexicon) -> str:
    letter, (first, second, third) = _letter_and_words(rng, lexicon)
    other = rng.choice([w for w in lexicon.words if w.letter != letter])
    person = rng.choice(lexicon.people).name
    return (
        f" {person} likes words that start with {letter}: {first.text}, {second.text}"
        f" and {third.text}, but not {other.text}.\n"
    )


def _match(rng: random.Random, lexicon: Lexicon) -> str:
    _, (first, second, _) = _letter_and_words(rng, lexicon)
    other = rng.choice(lexicon.words)
    verdict = "match" if other.letter == first.letter else "do not match"
    return f" {first.text} and {second.text} match, {first.text} and {other.text} {verdict}.\n"


def _letter_and_words(rng: random.Random, lexicon: Lexicon) -> tuple[str, list[Entry]]:
    """A letter by how often it starts a word, and three of its words."""
    letter = rng.choice(lexicon.words).letter
    return letter, rng.sample(lexicon.by_letter[letter], 3)


FORMS: tuple[Form, ...] = (_statement, _statement, _drill, _kind, _kind, _alphabet_book, _club, _match)
