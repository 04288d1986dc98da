"""What is true of every token: its word's first letter, its place in the taxonomy, its attributes.

A word of the lexicon, a person's or a city's name is one token after a space and means one thing only, so that the
truth of a token is a function of its id. Genre, topic, sentiment and alliteration are true of a whole `Document`.
"""

from dataclasses import dataclass, field
from typing import Any

from saebench.organism.lexicon import City, Lexicon, Person


@dataclass(frozen=True)
class TokenTruth:
    """Truth of one token of the vocabulary."""

    text: str
    """With its space in front, if it has one."""
    letter: str | None = None
    """First letter, as a capital, of a token that is a whole word."""
    path: tuple[str, ...] = ()
    """From general to specific: ("animal", "reptile", "snake"); empty for words outside the lexicon."""
    attributes: dict[str, str] = field(default_factory=dict)
    """Of a person: profession, home, food, country, continent, language; of a city: country, continent, language."""


def vocabulary_truth(lexicon: Lexicon, tokenizer: Any) -> list[TokenTruth]:
    """Truth of every token id, in the order of ids."""
    known = _known_words(lexicon)
    texts = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
    return [known.get(text) or TokenTruth(text, letter_of(text)) for text in texts]


def _known_words(lexicon: Lexicon) -> dict[str, TokenTruth]:
    truths = [TokenTruth(f" {word.text}", word.letter, word.path) for word in lexicon.words]
    truths += [TokenTruth(f" {p.name}", p.letter, ("person", p.name), _of_person(p)) for p in lexicon.people]
    truths += [TokenTruth(f" {c.name}", c.name[0], ("city", c.name), _of_city(c)) for c in lexicon.cities]
    return {truth.text: truth for truth in truths}


def _of_person(person: Person) -> dict[str, str]:
    own = {"profession": person.profession, "home": person.home.name, "food": person.food}
    return own | _of_city(person.home)


def _of_city(city: City) -> dict[str, str]:
    return {"country": city.country, "continent": city.continent, "language": city.language}


def letter_of(text: str) -> str | None:
    """First letter, as a capital, of a token that is a whole word."""
    word = text.removeprefix(" ")
    return word[0].upper() if text.startswith(" ") and word.isascii() and word.isalpha() else None
