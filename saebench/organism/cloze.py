"""Cloze questions that the world writes: what is asked at the end of a passage was told at its beginning.

Every sentence has a form that the language model was trained on (`templates.toml`). A *fact* follows from who a person
is, who is named at the beginning alone; a thing that is *recalled* stood there in the very same sentence.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from saebench.organism.world import NOT_TOPICS, READING, SENTIMENTS, World, Writer
from saebench.record.questions import MOST_OPTIONS, Question

VERSION = 1
"""Of how passages are written: part of the identity of scores."""
LAST = re.compile(r" \{(\w+)\}\.$")
"""What a sentence whose thing can be asked for ends with: the thing's category."""
OF_PERSON = re.compile(r"\{(?:a:)?[PQ]\.")
GENRES = ("story", "dialogue", "encyclopedia", "recipe", "letter")
FILLERS = 6
"""Forms of the sentences between what is told and what is asked."""
TRIES = 100
"""Passages that are begun until one is short enough."""


@dataclass(frozen=True)
class Fact:
    """An attribute of a person, told by naming the person and asked for without."""

    genre: str
    told: str
    asked: str
    """Beginning of a sentence that goes on with the attribute."""
    person: str
    attribute: str


FACTS = (
    Fact("story", " This is a story about {P}, {a:P.profession} from {P.home}.", " They rode in {a:vehicle} to", "P", "home"),
    Fact("story", " {P} and {Q} lived near {a:place} with {a:mood} {topic}.", " They rode in {a:vehicle} to", "P", "home"),
    Fact("letter", " Dear {Q},\nI am in {P.home} now, and it is {mood} here.", " The people in", "P", "country"),
    Fact("letter", " Dear {Q},\nmany thanks for the {mood} {topic}.", " The {topic} from", "Q", "home"),
    Fact("letter", " Dear {Q},\nI have {mood} news about the {topic}.", " Do you still {verb} and {verb} in", "Q", "country"),
)  # fmt: skip
Tokens = Callable[[str], int]
"""How many tokens a passage has."""


def questions(world: World, low: int, high: int, count: int, tokens: Tokens) -> list[Question]:
    """As many questions, half of each kind, after passages of more than `low` and at most `high` tokens.

    Raises ValueError where the shortest passage that can be written is longer.
    """
    return [_question(world, number, low, high, tokens) for number in range(count)]


def _question(world: World, number: int, low: int, high: int, tokens: Tokens) -> Question:
    for attempt in range(TRIES):
        rng = random.Random(f"cloze/{low}-{high}/{number}/{attempt}")
        passage, asked = _fact(world, rng) if number % 2 else _recalled(world, rng)
        if (written := passage.written(rng.randint(low + 1, high), tokens)) and low < tokens(written) <= high:
            return Question(written, asked.answer, asked.others, asked.kind, f"{low}-{high}/{number}")
    raise ValueError(f"no passage of the world has {low + 1} to {high} tokens")


@dataclass(frozen=True)
class _Asked:
    answer: str
    others: tuple[str, ...]
    kind: str


@dataclass(frozen=True)
class _Passage:
    """Told at the beginning, asked at the end, and what may stand between."""

    told: str
    asked: str
    writer: Writer
    forms: list[str]

    def written(self, most: int, tokens: Tokens) -> str:
        """As many sentences between as there is room for; empty where there is no room for the ends."""
        found, between = "", ""
        while tokens(whole := self.told + between + self.asked) <= most:
            found, between = whole, between + self.writer.fill(self.writer.rng.choice(self.forms))
        return found


def _writer(world: World, rng: random.Random) -> Writer:
    topic = rng.choice([category for category in world.lexicon.categories if category not in NOT_TOPICS])
    return Writer(rng, world.lexicon, READING, topic, rng.choice(SENTIMENTS), None)


def _fact(world: World, rng: random.Random) -> tuple[_Passage, _Asked]:
    fact, writer = rng.choice(FACTS), _writer(world, rng)
    told, asked = writer.fill(fact.told), writer.fill(fact.asked)
    # No other sentence may tell it.
    forms = [form for form in world.templates[fact.genre]["body"] if not OF_PERSON.search(form)]
    answers = {name: writer.fill(f"{{{name}.{fact.attribute}}}") for name in "PQ"}
    answer, other = answers[fact.person], answers["Q" if fact.person == "P" else "P"]
    everywhere = [city.name if fact.attribute == "home" else city.country for city in world.lexicon.cities]
    passage = _Passage(told, asked, writer, rng.sample(forms, min(FILLERS, len(forms))))
    return passage, _Asked(answer, _others(rng, answer, [other], everywhere), "fact")


def _recalled(world: World, rng: random.Random) -> tuple[_Passage, _Asked]:
    genre, writer = rng.choice(GENRES), _writer(world, rng)
    body = world.templates[genre]["body"]
    form = rng.choice([form for form in body if (found := LAST.search(form)) and found[1] not in "PQ"])
    slot = LAST.findall(form)[0]
    sentence = writer.fill(form)
    asked, _, answer = sentence.removesuffix(".").rpartition(" ")
    forms = rng.sample([other for other in body if other != form], FILLERS)
    opening = writer.fill(rng.choice(world.templates[genre]["open"]))
    own, every = ([word.text for word in words] for words in (writer.pool(slot), writer.candidates(slot)))
    passage = _Passage(opening + sentence, asked, writer, forms)
    return passage, _Asked(answer, _others(rng, answer, own, every), "recalled")


def _others(rng: random.Random, answer: str, first: list[str], then: list[str]) -> tuple[str, ...]:
    """Wrong options: those `first`, which the passage may name, and some of the others of the kind."""
    likely = [word for word in dict.fromkeys(first) if word != answer][: MOST_OPTIONS - 1]
    rest = [word for word in dict.fromkeys(then) if word not in (answer, *likely)]
    return (*likely, *rng.sample(rest, min(MOST_OPTIONS - 1 - len(likely), len(rest))))
