"""The words of the world, with everything that is true of them."""

import random
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PEOPLE_SEED = 20260101
"""Fixes who people are for every corpus, model and test: people are facts of the world, not samples."""


@dataclass(frozen=True)
class Entry:
    """A lexicon word: always one token after a space."""

    text: str
    category: str
    subcategory: str

    @cached_property
    def letter(self) -> str:
        return self.text[0].upper()

    @property
    def path(self) -> tuple[str, str, str]:
        """Taxonomy from general to specific: animal > reptile > snake."""
        return (self.category, self.subcategory, self.text)


@dataclass(frozen=True)
class City:
    name: str
    country: str
    continent: str
    language: str


@dataclass(frozen=True)
class Person:
    name: str
    profession: str
    home: City
    food: str
    """Favourite food."""

    @property
    def letter(self) -> str:
        return self.name[0].upper()


@dataclass(frozen=True)
class Lexicon:
    words: tuple[Entry, ...]
    cities: tuple[City, ...]
    people: tuple[Person, ...]

    @cached_property
    def by_text(self) -> dict[str, Entry]:
        return {word.text: word for word in self.words}

    @cached_property
    def by_category(self) -> dict[str, tuple[Entry, ...]]:
        """Words below every category and subcategory name."""
        groups: dict[str, list[Entry]] = {}
        for word in self.words:
            groups.setdefault(word.category, []).append(word)
            groups.setdefault(word.subcategory, []).append(word)
        return {name: tuple(group) for name, group in groups.items()}

    @cached_property
    def by_letter(self) -> dict[str, tuple[Entry, ...]]:
        groups: dict[str, list[Entry]] = {}
        for word in self.words:
            groups.setdefault(word.letter, []).append(word)
        return {letter: tuple(groups[letter]) for letter in sorted(groups)}

    @cached_property
    def categories(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(word.category for word in self.words))

    def subcategories(self, category: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(word.subcategory for word in self.by_category[category]))


def load_lexicon(folder: Path) -> Lexicon:
    """Read `lexicon.toml` and `geography.toml` below `folder` and give every person their fixed attributes."""
    taxonomy = tomllib.loads((folder / "lexicon.toml").read_text())
    words = tuple(
        Entry(text, category, subcategory)
        for category, subcategories in taxonomy.items()
        for subcategory, texts in subcategories.items()
        for text in texts
    )
    geography = tomllib.loads((folder / "geography.toml").read_text())
    countries = geography["countries"]
    cities = tuple(City(name, country, **countries[country]) for name, country in geography["cities"].items())
    return Lexicon(words, cities, _people(geography["people"]["names"], words, cities))


def _people(names: list[str], words: tuple[Entry, ...], cities: tuple[City, ...]) -> tuple[Person, ...]:
    rng = random.Random(PEOPLE_SEED)
    professions = [word.text for word in words if word.category == "profession"]
    foods = [word.text for word in words if word.category == "food"]
    return tuple(Person(name, rng.choice(professions), rng.choice(cities), rng.choice(foods)) for name in sorted(names))
