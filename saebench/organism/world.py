"""A seeded generator of English-like documents about which everything is known."""

import random
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from saebench.organism.lexicon import City, Entry, Lexicon, Person, load_lexicon
from saebench.organism.spelling import spelling_lines

VERSION = "19b73564dc9c"
"""Which texts it generates, as the names of corpora say: another one for other texts, that is when the test that pins them
fails. Published scores are of this one."""
GENRES = ("story", "encyclopedia", "dialogue", "recipe", "letter", "lists", "spelling")
HELD_OUT_GENRE = "telegram"
"""Never seen by the language model in training."""
SENTIMENTS = ("positive", "negative", "neutral")
NOT_TOPICS = ("verb", "adjective", "colour", "weather", "emotion", "subject")
MIN_WORDS = 235
"""Every document fills a context of 256 tokens: its words, its punctuation and its names."""
SLOT = re.compile(r"\{(?:(a|A|list|sorted):)?(\w+)(!)?(?:\.(\w+))?\}")


@dataclass(frozen=True)
class Document:
    """A text and what is true of all of it; what is true of its words is in the lexicon."""

    text: str
    genre: str
    topic: str
    """Top-level category that most of its nouns come from."""
    sentiment: str
    letter: str | None
    """Where the document alliterates, the first letter of its content words."""


@dataclass(frozen=True)
class Mixture:
    """How often each genre occurs, how often a document alliterates, and how much it repeats itself."""

    genres: dict[str, float]
    alliteration: float = 0.25
    things: int = 4
    """Words of each category that one document draws from again and again."""
    topics: int = 7
    """The same for its topic."""
    forms: int = 9
    """Sentence patterns that it draws from."""
    recall: float = 0.0
    """Probability, reached at its end, that a sentence is one that the document had before, word by word."""
    drills: tuple[int, int] = (4, 12)
    """Fewest and most lines in a row that a spelling document has in one form."""


TRAINING = Mixture(
    {"story": 20, "encyclopedia": 14, "dialogue": 13, "recipe": 9, "letter": 11, "lists": 13, "spelling": 18}
)
PERSISTENT = Mixture({**TRAINING.genres, "spelling": 12}, alliteration=0.15, things=2, topics=4, forms=7)
RECALLING = Mixture({**TRAINING.genres, "spelling": 15}, alliteration=0.2, recall=0.7, drills=(1, 4))
"""What the language model is trained on in turn: later, what was said before tells more of what comes."""
READING = Mixture({**TRAINING.genres, "spelling": 6}, alliteration=0.2, recall=0.7, drills=(1, 4))
"""What SAEs are trained and measured on: as RECALLING, with fewer spelling drills."""


@dataclass(frozen=True)
class World:
    """All that documents are made of. `document(key)` depends on nothing but `key` and the mixture."""

    lexicon: Lexicon
    templates: dict[str, dict[str, list[str]]]

    @classmethod
    def load(cls, folder: Path) -> "World":
        return cls(load_lexicon(folder), tomllib.loads((folder / "templates.toml").read_text()))

    def document(self, key: str, mixture: Mixture = READING) -> Document:
        rng = random.Random(key)
        genre = rng.choices(list(mixture.genres), list(mixture.genres.values()))[0]
        letter = rng.choice(_letters(self.lexicon)) if rng.random() < mixture.alliteration else None
        return self.write(rng, genre, letter, mixture)

    def write(self, rng: random.Random, genre: str, letter: str | None = None, mixture: Mixture = READING) -> Document:
        topic = rng.choice([c for c in self.lexicon.categories if c not in NOT_TOPICS])
        sentiment = rng.choice(SENTIMENTS)
        if genre == "spelling":
            lines = spelling_lines(rng, self.lexicon, MIN_WORDS, mixture.drills)
            return Document(lines, genre, topic, sentiment, None)
        writer = Writer(rng, self.lexicon, mixture, topic, sentiment, letter)
        return Document(writer.text(self.templates[genre]), genre, topic, sentiment, letter)


def _letters(lexicon: Lexicon) -> list[str]:
    """Letters with enough words to alliterate on."""
    return [letter for letter, words in lexicon.by_letter.items() if len(words) >= 20]


class Writer:
    """One document's memory: its people, its things, its mood. They persist, so that context helps prediction."""

    def __init__(
        self, rng: random.Random, lexicon: Lexicon, mixture: Mixture, topic: str, sentiment: str, letter: str | None
    ) -> None:
        self.rng, self.lexicon, self.mixture = rng, lexicon, mixture
        self.topic, self.sentiment, self.letter = topic, sentiment, letter
        people = [p for p in lexicon.people if letter is None or p.letter == letter] or list(lexicon.people)
        self.people = dict(zip("PQ", rng.sample(people, 2), strict=True))
        self.cities = rng.sample(lexicon.cities, 2)
        self.pools: dict[str, list[Entry]] = {}
        self.last: dict[str, Entry | City] = {}

    def text(self, templates: dict[str, list[str]]) -> str:
        parts = [self.fill(self.rng.choice(templates["open"]))]
        forms = self.rng.sample(templates["body"], self.mixture.forms)
        words = 0
        while words < MIN_WORDS:
            part = self.rng.choice(parts[1:]) if self._recalls(words, parts) else self.fill(self.rng.choice(forms))
            parts.append(part)
            words += len(part.split())
        return "".join(parts)

    def _recalls(self, words: int, parts: list[str]) -> bool:
        """Whether the next sentence is an old one; ever more often, the more there is to recall."""
        recall = self.mixture.recall
        return bool(recall) and len(parts) > 1 and self.rng.random() < recall * words / MIN_WORDS

    def fill(self, template: str) -> str:
        return SLOT.sub(self._slot, template)

    def _slot(self, match: re.Match[str]) -> str:
        form, name, again, attribute = match.groups()
        if form in ("list", "sorted"):
            return self._several(name, in_order=form == "sorted")
        text = self._person(name, attribute) if name in self.people else self._thing(name, bool(again), attribute)
        if form is None:
            return text
        article = "an" if text[0].lower() in "aeiou" else "a"
        return f"{article if form == 'a' else article.capitalize()} {text}"

    def _person(self, name: str, attribute: str | None) -> str:
        person: Person = self.people[name]
        if attribute is None:
            return person.name
        if attribute == "home":
            return person.home.name
        source = person if hasattr(person, attribute) else person.home
        return str(getattr(source, attribute))

    def _thing(self, name: str, again: bool, attribute: str | None) -> str:
        thing = self.last.get(name) if again or attribute else None
        thing = thing or self._draw(name)
        self.last[name] = thing
        if isinstance(thing, City):
            return str(getattr(thing, attribute or "name"))
        return {None: thing.text, "sub": thing.subcategory, "cat": thing.category}[attribute]

    def _draw(self, name: str) -> Entry | City:
        if name == "city":
            return self.rng.choice(self.cities)
        pool = self.pool(name)
        if self.letter:
            return self.rng.choice(pool)
        return self.rng.choices(pool, [1 / (rank + 1.5) for rank in range(len(pool))])[0]

    def pool(self, name: str) -> list[Entry]:
        if name not in self.pools:
            words = self.candidates(name)
            size = self.mixture.topics if name in ("topic", "any") else self.mixture.things
            self.pools[name] = self.rng.sample(words, len(words) if self.letter else min(size, len(words)))
        return self.pools[name]

    def candidates(self, name: str) -> Sequence[Entry]:
        """Words that may fill a slot: of its category, and alliterating where the category has such a word."""
        if name == "mood":
            name = self.sentiment if self.sentiment != "neutral" else "size"
        words = (
            self.lexicon.words if name == "any" else self.lexicon.by_category[self.topic if name == "topic" else name]
        )
        return [w for w in words if w.letter == self.letter] or words if self.letter else words

    def _several(self, name: str, in_order: bool) -> str:
        words = self.pool(name)
        chosen = [w.text for w in self.rng.sample(words, min(self.rng.randint(3, 7), len(words)))]
        return ", ".join(sorted(chosen) if in_order else chosen)
