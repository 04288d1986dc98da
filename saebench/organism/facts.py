"""Questions about the world's facts with four answers of one kind, and texts that tell of a topic or of all else."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count as counting

from saebench.organism.world import NOT_TOPICS, READING, SENTIMENTS, SLOT, World, Writer

OPTIONS = 4
"""Answers that are offered, the right one among them."""
GENRES = ("story", "encyclopedia", "dialogue", "letter")
"""Genres whose sentences tell of people and places, beside much else."""
OF = ("city", "person", "word")
"""What facts are about."""


@dataclass(frozen=True)
class Form:
    """One way to ask, as the world's own sentences say it: `{name}` and all that is known of it may stand in the text."""

    of: str
    """One of `OF`."""
    text: str
    answer: str
    """What is asked for: a name among `known_of`."""


@dataclass(frozen=True)
class Asked:
    """A text up to where one of four words follows."""

    unit: str
    """What it is about; two questions about one thing are not independent."""
    text: str
    options: tuple[str, ...]
    """Words, the right one first."""


def known_of(world: World, of: str) -> dict[str, dict[str, str]]:
    """Name of each thing of a kind to what is known of it."""
    lexicon = world.lexicon
    if of == "city":
        return {
            c.name: {"country": c.country, "continent": c.continent, "language": c.language} for c in lexicon.cities
        }
    if of == "person":
        return {p.name: {"profession": p.profession, "food": p.food, "home": p.home.name} for p in lexicon.people}
    things = [word for word in lexicon.words if word.category not in NOT_TOPICS]
    return {word.text: {"subcategory": word.subcategory, "category": word.category} for word in things}


def questions(world: World, forms: Sequence[Form], key: str, single: Mapping[str, bool]) -> Iterator[Asked]:
    """Questions without end: each thing in each form, first alone, then after ever other sentences of the world.

    `single` says which words are one token after a space: others are no options.
    """
    tables = {of: known_of(world, of) for of in {form.of for form in forms}}
    for variant in counting():
        for form in forms:
            table = tables[form.of]
            pool = sorted({known[form.answer] for known in table.values()})
            for name, known in table.items():
                rng = random.Random(f"{key} {form.text} {name} {variant}")
                wrong = [word for word in pool if word != known[form.answer] and single.get(word)]
                if not single.get(known[form.answer]) or len(wrong) < OPTIONS - 1:
                    continue
                text = form.text.format(name=name, Name=_with_article(name), a=_article(known[form.answer]), **known)
                options = (known[form.answer], *rng.sample(wrong, OPTIONS - 1))
                yield Asked(name, (_before(world, rng) if variant else "") + text, options)


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _with_article(word: str) -> str:
    return f"{_article(word).capitalize()} {word}"


def _before(world: World, rng: random.Random) -> str:
    """A line that tells of the kinds of things alone."""
    return _writer(world, rng).fill(rng.choice(world.templates["encyclopedia"]["open"])) + "\n"


def tells_of(template: str, slots: Sequence[str]) -> bool:
    """Whether a sentence has a slot of these names, or one for an attribute of these names."""
    return any(match[2] in slots or match[4] in slots for match in SLOT.finditer(template))


def texts(world: World, slots: Sequence[str], documents: int, key: str, *, topic: bool) -> list[str]:
    """Documents of those sentences alone that have one of the slots, or of those that have none."""
    of = {
        part: [t for genre in GENRES for t in world.templates[genre][part] if tells_of(t, slots) == topic]
        for part in ("open", "body")
    }
    forms = min(READING.forms, len(of["body"]))
    return [_writer(world, random.Random(f"{key} {number}"), forms).text(of) for number in range(documents)]


def _writer(world: World, rng: random.Random, forms: int = READING.forms) -> Writer:
    topics = [name for name in world.lexicon.categories if len(world.lexicon.subcategories(name)) > 1]
    mixture = replace(READING, recall=0.0, forms=forms)
    return Writer(rng, world.lexicon, mixture, rng.choice(topics), rng.choice(SENTIMENTS), None)
