"""What language models are asked as judges, and how their answers are read: strictly, and nonsense is none."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

VERSION = 1
"""Of everything in this file that moves an answer."""
LONGEST = 300
"""Characters of an explanation, and of a text that is written."""
TASK = "You study a unit of a language model: it is active on some words of a text, and silent on all others."
NUMBERS = re.compile(
    r"(?:texts?|answers?|numbers?)?[\s:]*((?:\d+[\s,;.]*(?:and\s+)?)+|none|no text|\[\s*\])\W*", re.IGNORECASE
)
LISTED = re.compile(r"\s*(?:\d+\s*[.):]|[-*])\s*(.+)")


@dataclass(frozen=True)
class Prompt:
    """One question. What several have in common stands in `head`, so that a model of this machine reads it once."""

    system: str
    head: str
    tail: str
    most: int
    """Tokens of the answer."""
    read: Callable[[str], Any] = field(compare=False)
    """What an answer means; None where it is nonsense."""
    target: str = ""
    """Where it is not empty, the answer is how likely a model goes on with it: its log-likelihood in nats."""
    raw: bool = False
    """Whether it is to be gone on with as it is, and not answered in a conversation."""

    @property
    def weighed(self) -> bool:
        return bool(self.target)

    @property
    def user(self) -> str:
        return self.head + self.tail


def explain(texts: Sequence[str]) -> Prompt:
    """What do marked words have in common?"""
    asked = (
        "In the texts below, the words that it is active on stand between << and >>. In one short phrase, without any"
        " introduction: what do these words, or what they follow, have in common?\n\n"
    )
    return Prompt(TASK, asked + numbered(texts), "\n\nThe phrase:", 40, explanation_in)


MARKED_SHOTS = (
    "Texts: she ate an <<apple>> / buy a ripe <<pear>> / jam of <<plums>>\nCommon: fruit\n"
    "Texts: late in the <<evening>> / we met at <<noon>> / slept until <<midnight>>\nCommon: times of the day\n"
)
PLAIN_SHOTS = (
    "Text: on the market she had bought a ripe pear, and ate it\nTopic: fruit\n"
    "Text: we met at noon and talked until the evening\nTopic: times of the day\n"
)
"""How small models are shown what is meant: they go on with such texts better than they follow instructions."""


def explain_briefly(texts: Sequence[str]) -> Prompt:
    """What do marked words have in common? For small models, of what stands around these words."""
    return Prompt("", MARKED_SHOTS, f"Texts: {' / '.join(texts)}\nCommon:", 10, explanation_in, raw=True)


def choose(explanation: str, texts: Sequence[str], *, marked: bool) -> Prompt:
    """Which of some texts does an explanation fit?"""
    which = (
        "In which of these texts do << and >> stand around the words that it is active on, and not around others?"
        if marked
        else "In which of these texts is it active on some word?"
    )
    said = f"It is active on: {explanation}\n\n{numbered(texts)}\n\n{which}"
    answer = ' Answer with the numbers of these texts alone, such as "2, 5", or with "none".'
    count = len(texts)
    return Prompt(TASK, said + answer, "", 60, lambda answer: numbers_in(answer, count))


def weigh(explanation: str, text: str, *, marked: bool) -> Prompt:
    """How likely would a small model have explained a text like this?"""
    head, tail = (MARKED_SHOTS, f"Texts: {text}\nCommon:") if marked else (PLAIN_SHOTS, f"Text: {text}\nTopic:")
    return Prompt("", head, tail, 1, number_in, target=f" {explanation}", raw=True)


def write(texts: Sequence[str], count: int) -> Prompt:
    """New texts like those in which a unit is active."""
    asked = (
        f"In the texts below, the words that it is active on stand between << and >>. Write {count} different new texts of"
        " ten to twenty words in which it is active just as well. One on a line, each behind its number; no marks.\n\n"
    )
    return Prompt(TASK, asked + numbered(texts), "", 60 * count, lambda answer: lines_in(answer, count))


def numbered(texts: Sequence[str]) -> str:
    return "\n".join(f"{at}. {text}" for at, text in enumerate(texts, 1))


def explanation_in(answer: str) -> str | None:
    """The first line that has a word in it."""
    lines = (line.strip().strip("\"'*`").strip() for line in answer.splitlines())
    return next((line[:LONGEST] for line in lines if any(map(str.isalpha, line))), None)


def numbers_in(answer: str, count: int) -> list[int] | None:
    """Numbers from 1 to `count`, or "none"; None for whatever else."""
    if not (match := NUMBERS.fullmatch(answer.strip())):
        return None
    found = [int(number) for number in re.findall(r"\d{1,9}", match[1])]
    return found if all(1 <= number <= count for number in found) else None


def number_in(answer: str) -> float | None:
    try:
        return float(answer)
    except ValueError:
        return None


def lines_in(answer: str, count: int) -> list[str] | None:
    """As many texts as were asked for, each behind its number; None where there are fewer."""
    found = [
        match[1].replace("<<", "").replace(">>", "").strip()[:LONGEST]
        for line in answer.splitlines()
        if (match := LISTED.fullmatch(line))
    ]
    written = [text for text in found if any(map(str.isalpha, text))]
    return written[:count] if len(written) >= count else None
