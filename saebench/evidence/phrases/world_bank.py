"""The phrase bank of the embedded model's world: what its people, cities, countries and categories are made of."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, zip_longest

from saebench.evidence.phrases.bank import FEWEST_PHRASES, MOST_PARTS, Bank, Feature, Phrase
from saebench.organism.lexicon import City, Entry, Lexicon, Person
from saebench.organism.world import VERSION
from saebench.record.score import Unscored
from saebench.stats.statistics import fixed_seed_of

FORMS = {
    "profession": (" The {x} told them about the {place}.", " How is the {x}? And how is the {plant}?", " Do you still play {sport} with the {x}?"),
    "home": (" I am in {x} now, and it is {weather} here.", "\nSeen in {x}: {clothing}, {plant}.", " The {furniture} from {x} is {colour}."),
    "country": (" I love {x}.", " Do you still {verb} in {x}?", " The people in {x} like the {plant}."),
    "continent": (" It is in {x}.", " The {place} is in {x}.", " The people in {x} like the {vehicle}."),
    "language": (" So you speak {x}.", " The people speak {x}, and they like the {clothing}.", " In the {place} people speak {x}."),
    "food": ("\nFirst put the {x} in the {tool}.", " My favourite food is {x}.", "\nServe it with the {x} and the {tool}."),
}  # fmt: skip
"""Sentences about one attribute, after the world's own, in which nothing else is said that is true of an entity."""
NAMING = {
    "person": (
        " This is a story about {x}.", " Dear {x},\nI have news about the {furniture}.", " {x} went to the {place} with the {tool}.",
        "\n {x}: Where is the {clothing}?", " Lists by {x}.", "\nThings of {x}: {plant}, {vehicle}.", " {x} did not stop.", " They met {x} by the {place}.",
    ),
    "place": (
        " I am in {x} now.", "\nSeen in {x}: {plant}, {tool}.", " The {clothing} from {x} is {colour}.", " Some lists from {x}.",
        " They rode to {x} by {vehicle}.", " I love {x}.", " It was a morning in {x}.", " Do you still {verb} in {x}?",
    ),
}  # fmt: skip
KINDS = ("\nA list of one kind: {words}.", "\nIn order: {words}.", "\nFrom first to last: {words}.")
"""How words of a category stand together."""
OF_KIND = " {word} is of the kind {category}."
NAMING_WORDS, PHRASE_WORDS = 3, 2
FEWEST_WORDS = 4
"""Words of a kind: half of them name its category, the others are what is asked about."""


@dataclass(frozen=True)
class Author:
    """Writes the features of one world. Each depends on nothing but its own name."""

    lexicon: Lexicon

    def people(self) -> Iterator[Feature]:
        return map(self._person, self.lexicon.people)

    def cities(self) -> Iterator[Feature]:
        return map(self._city, self.lexicon.cities)

    def countries(self) -> Iterator[Feature]:
        return map(self._country, dict.fromkeys(city.country for city in self.lexicon.cities))

    def categories(self) -> Iterator[Feature]:
        return filter(None, map(self._category, self.lexicon.categories))

    def _person(self, person: Person) -> Feature:
        home = person.home
        own = {
            "profession": person.profession,
            "home": home.name,
            "food": person.food,
            **_of(home, "country", "language"),
        }
        others = {
            "profession": [p.profession for p in self.lexicon.people],
            "food": [p.food for p in self.lexicon.people],
        }
        return self._made(person.name, "person", own, others)

    def _city(self, city: City) -> Feature:
        return self._made(city.name, "place", _of(city, "country", "continent", "language"), {})

    def _country(self, country: str) -> Feature:
        cities = [city for city in self.lexicon.cities if city.country == country]
        homes = {f"home {number}": city.name for number, city in enumerate(cities, 1)}
        return self._made(country, "place", {**homes, **_of(cities[0], "language", "continent")}, {})

    def _made(self, name: str, kind: str, own: dict[str, str], others: dict[str, list[str]]) -> Feature:
        """An entity with its attributes' values; near misses say the same of another value."""
        rng, about = random.Random(fixed_seed_of(f"phrases of {kind} {name}")), (name, *own.values())
        parts: dict[str, tuple[Phrase, ...]] = {}
        near: list[str] = []
        for attribute, value in own.items():
            forms = FORMS[attribute.partition(" ")[0]]
            parts[f"{attribute}: {value}"] = tuple(self.phrase(self.filled(rng, form, value)) for form in forms)
            known = others.get(attribute) or [getattr(c, _field(attribute)) for c in self.lexicon.cities]
            other = rng.choice([v for v in known if not {v, *self._truth.get(v, ())} & set(about)])
            near += [self.filled(rng, form, other) for form in forms]
        naming = tuple(self.filled(rng, form, name) for form in NAMING[kind])
        return Feature(name, parts, about, naming, tuple(near), description=f"the {kind} {name}")

    def _category(self, category: str) -> Feature | None:
        """A category with its largest kinds; words that name it are not those that are asked about."""
        rng = random.Random(fixed_seed_of(f"phrases of the kind {category}"))
        kinds = [
            kind for kind in self.lexicon.subcategories(category) if len(self.lexicon.by_category[kind]) >= FEWEST_WORDS
        ]
        kinds = sorted(kinds, key=lambda kind: -len(self.lexicon.by_category[kind]))[:MOST_PARTS]
        if len(kinds) < 2:
            return None
        words = {kind: rng.sample(group := self.lexicon.by_category[kind], len(group)) for kind in kinds}
        named = [word for group in words.values() for word in group[::2]]
        parts = {kind: tuple(self.kinds(rng, group[1::2])) for kind, group in words.items()}
        naming = [self._list(form, rng.sample(named, NAMING_WORDS)) for form in (*KINDS, *KINDS)]
        naming += [OF_KIND.format(word=word.text, category=category) for word in rng.sample(named, 2)]
        return Feature(category, parts, (category,), tuple(naming), description=f"words of the kind {category}")

    def kinds(self, rng: random.Random, words: list[Entry]) -> Iterator[Phrase]:
        """As many different phrases as there have to be."""
        for form in KINDS[:FEWEST_PHRASES]:
            yield self.phrase(self._list(form, rng.sample(words, min(PHRASE_WORDS, len(words)))))

    def _list(self, form: str, words: Iterable[Entry]) -> str:
        return form.format(words=", ".join(sorted(word.text for word in words)))

    def filled(self, rng: random.Random, form: str, value: str) -> str:
        """The form with the value, and any word of a category in each of its other slots."""
        return form.format(x=value, **{name: rng.choice(self.lexicon.by_category[name]).text for name in FILLERS})

    def phrase(self, text: str) -> Phrase:
        """With all that its words are about, which the world knows."""
        words = [word.strip(".,?:") for word in text.split()]
        return Phrase(text, tuple(dict.fromkeys(s for word in words for s in (self._truth.get(word, ())))))

    @property
    def subjects(self) -> Iterable[str]:
        """All words that something is known of."""
        return self._truth

    @cached_property
    def _truth(self) -> dict[str, tuple[str, ...]]:
        """What each word is about, itself included."""
        words = {word.text: word.path for word in self.lexicon.words}
        cities = {c.name: (c.name, c.country, c.continent, c.language) for c in self.lexicon.cities}
        alone = {v: (v,) for c in self.lexicon.cities for v in (c.country, c.continent, c.language)}
        people = {p.name: ("person", p.name) for p in self.lexicon.people}
        return {**words, **alone, **people, **{name: ("city", *facts) for name, facts in cities.items()}}


FILLERS = ("place", "plant", "sport", "weather", "clothing", "furniture", "colour", "verb", "vehicle", "tool")


def _of(city: City, *attributes: str) -> dict[str, str]:
    return {name: str(getattr(city, name)) for name in attributes}


def _field(attribute: str) -> str:
    return "name" if attribute.startswith("home") else attribute


def world_bank(lexicon: Lexicon, most: int) -> Bank:
    """Up to so many features, in turn of each kind; a larger bank has all that a smaller one has."""
    author = Author(lexicon)
    kinds = (author.categories(), author.countries(), author.people(), author.cities())
    drawn = (sorted(kind, key=lambda one: fixed_seed_of(f"which phrases {one.name}")) for kind in kinds)
    found = [one for one in chain.from_iterable(zip_longest(*drawn)) if one is not None][:most]
    if len(found) < 2:
        raise Unscored("the world has no features that are made of others")
    return Bank(f"organism-world-{VERSION}", tuple(found))
