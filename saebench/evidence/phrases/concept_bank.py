"""Phrases about what the embedded model's judge explains latents by: the world knows what each concept is made of."""

import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from saebench.evidence.phrases.bank import FEWEST_PARTS, MOST_PARTS, Feature, Phrase
from saebench.evidence.phrases.world_bank import FEWEST_WORDS, Author
from saebench.organism.lexicon import Entry
from saebench.stats.statistics import fixed_seed_of

ABOUT_PERSON = (" This is a story about {x}.", " They met {x} by the {place}.", "\nThings of {x}: {plant}, {vehicle}.")
ABOUT_PLACE = (" I am in {x} now.", " The {clothing} from {x} is {colour}.", " They rode to {x} by {vehicle}.")
OF_WORD = ("\nA list of one kind: {x}.", "\nIn order: {x}.", "\nFrom first to last: {x}.")
KIND, BEGINNING, TOKEN = "words of the kind ", "words that begin with ", "the token "
ATTRIBUTE = re.compile(r"names of a (?P<whose>\w+) with (?P<name>\w+) (?P<value>.+)")


@dataclass(frozen=True)
class Concepts:
    """Writes the features of concepts by the names that `saebench.judges.concepts` gives them."""

    author: Author

    def feature(self, explanation: str) -> Feature | None:
        """What a concept is made of: its kinds, members or attributes. None for one that is not made of anything known."""
        parts, about = self._parts(explanation)
        kept = {name: tuple(phrases) for name, phrases in list(parts.items())[:MOST_PARTS]}
        if len(kept) < FEWEST_PARTS:
            return None
        return Feature(explanation, kept, about, description=explanation)

    def _parts(self, said: str) -> tuple[dict[str, Iterable[Phrase]], tuple[str, ...]]:
        rng = random.Random(fixed_seed_of(f"phrases of {said}"))
        if said.startswith(KIND):
            return self._kind(rng, said.removeprefix(KIND))
        if said.startswith(BEGINNING):
            return self._letter(rng, said.removeprefix(BEGINNING))
        if match := ATTRIBUTE.fullmatch(said):
            return self._holders(rng, **match.groupdict())
        return self._token(rng, said.removeprefix(TOKEN).strip("'\"").strip())

    def _kind(self, rng: random.Random, name: str) -> tuple[dict[str, Iterable[Phrase]], tuple[str, ...]]:
        """A category has kinds, and a kind words; that they are a person's or a city's names is all there is of others."""
        if name in ("person", "city"):
            forms, names = self._all_of(name)
            return {one: self._said(rng, forms, one) for one in rng.sample(names, MOST_PARTS)}, (name, *names)
        for category in self.author.categories():
            if category.name == name:
                return dict(category.parts), category.about
        words = self.author.lexicon.by_category.get(name, ())
        drawn = rng.sample(words, min(MOST_PARTS, len(words)))
        return {word.text: self._said(rng, OF_WORD, word.text) for word in drawn}, (name,)

    def _all_of(self, name: str) -> tuple[tuple[str, ...], list[str]]:
        people, cities = self.author.lexicon.people, self.author.lexicon.cities
        return (ABOUT_PERSON, [p.name for p in people]) if name == "person" else (ABOUT_PLACE, [c.name for c in cities])

    def _letter(self, rng: random.Random, letter: str) -> tuple[dict[str, Iterable[Phrase]], tuple[str, ...]]:
        """Words of several categories that begin alike."""
        groups: dict[str, list[Entry]] = {}
        for word in self.author.lexicon.by_letter.get(letter, ()):
            groups.setdefault(word.category, []).append(word)
        large = [(c, words) for c, words in groups.items() if len(words) >= FEWEST_WORDS]
        drawn = rng.sample(large, min(MOST_PARTS, len(large)))
        about = tuple(word for word in self.author.subjects if word[0].upper() == letter)
        return {f"{letter} of {c}": self.author.kinds(rng, words) for c, words in drawn}, about

    def _holders(
        self, rng: random.Random, whose: str, name: str, value: str
    ) -> tuple[dict[str, Iterable[Phrase]], tuple[str, ...]]:
        """Those of whom an attribute is true."""
        forms, names = self._all_of(whose)
        having = [one for one in names if str(self._facts[one].get(name)) == value]
        drawn = rng.sample(having, min(MOST_PARTS, len(having)))
        return {one: self._said(rng, forms, one) for one in drawn}, (value, *having)

    @cached_property
    def _facts(self) -> dict[str, dict[str, str]]:
        people, cities = self.author.lexicon.people, self.author.lexicon.cities
        of_cities = {c.name: {"country": c.country, "continent": c.continent, "language": c.language} for c in cities}
        own = {p.name: {"profession": p.profession, "home": p.home.name, "food": p.food} for p in people}
        return of_cities | {p.name: {**of_cities[p.home.name], **own[p.name]} for p in people}

    def _token(self, rng: random.Random, text: str) -> tuple[dict[str, Iterable[Phrase]], tuple[str, ...]]:
        """An entity has attributes; a word is one of its kind, and of its category."""
        if text in self._entities:
            entity = self._entities[text]
            return dict(entity.parts), entity.about
        word = self.author.lexicon.by_text.get(text)
        if word is None:
            return {}, ()
        kind = [w for w in self.author.lexicon.by_category[word.subcategory] if w is not word]
        wider = [w for w in self.author.lexicon.by_category[word.category] if w.subcategory != word.subcategory]
        groups = {word.subcategory: kind, word.category: wider}
        parts: dict[str, Iterable[Phrase]] = {
            name: self.author.kinds(rng, words) for name, words in groups.items() if len(words) >= 2
        }
        return parts, word.path

    @cached_property
    def _entities(self) -> dict[str, Feature]:
        writers: tuple[Callable[[], Iterator[Feature]], ...] = (
            self.author.people, self.author.cities, self.author.countries,
        )  # fmt: skip
        return {one.name: one for write in writers for one in write()}

    def _said(self, rng: random.Random, forms: Iterable[str], value: str) -> list[Phrase]:
        return [self.author.phrase(self.author.filled(rng, form, value)) for form in forms]


def concept_features(author: Author, explanations: Iterable[str | None]) -> dict[str, Feature]:
    """By the judge's explanation, the features of those that are made of something."""
    concepts = Concepts(author)
    named = {said: concepts.feature(said) for said in dict.fromkeys(explanations) if said is not None}
    return {said: feature for said, feature in named.items() if feature is not None}
