"""A sentence about entities in a model's tokens: what stands before a name, names of any length, what follows, and answers."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from saebench.evidence.entities.facts import SLOT
from saebench.record.score import Unscored
from saebench.subject.corpora import token_ids

LONGEST = 8
"""Tokens of a name."""
OPENING = ('"', "'", "(", "[", "“", "‘", "/")
"""A sentence that ends in one of these is followed by its answer at once, any other by a space."""
Ids = list[int]


@dataclass(frozen=True)
class Wording:
    """One template, of which all prompts are `prefix`, a name, `suffix`."""

    prefix: Ids
    names: dict[str, Ids]
    """Of the names that are tokens of their own there, whatever stands around them; at most `LONGEST` each."""
    suffix: Ids
    answers: Ids
    """First token of each value, as it comes after the prompt."""
    told: list[bool]
    """Whether no other value of the attribute begins with the same token."""


def worded(tokenizer: Any, template: str, names: list[str], values: list[str]) -> Wording:
    """Raises Unscored where there is no token before the name, or where no name is tokens of its own.

    A name counts where the tokens of the whole text are those of what stands before it, its own, and those of what
    follows it after most names.
    """
    before, after = template.split(SLOT)
    prefix = token_ids(tokenizer, [before.rstrip(" ")])[0]
    if not prefix:
        raise Unscored(f"the model knows no token that a text begins with, and {template!r} begins with a name")
    heads = token_ids(tokenizer, [before + name for name in names])
    whole = token_ids(tokenizer, [before + name + after for name in names])
    rest = [tuple(ids[len(head) :]) for head, ids in zip(heads, whole, strict=True)]
    suffix = list(Counter(rest).most_common(1)[0][0]) if rest else []
    found = {
        name: head[len(prefix) :]
        for name, head, ids in zip(names, heads, whole, strict=True)
        if head[: len(prefix)] == prefix and ids == head + suffix and 0 < len(head) - len(prefix) <= LONGEST
    }
    if not found:
        raise Unscored(f"in {template!r}, no name is tokens of its own")
    asked = before + next(iter(found)) + after
    return Wording(prefix, found, suffix, *_answers(tokenizer, asked, values))


def _answers(tokenizer: Any, asked: str, values: list[str]) -> tuple[Ids, list[bool]]:
    lead = "" if asked.endswith(OPENING) else " "
    own, *answered = token_ids(tokenizer, [asked, *(f"{asked}{lead}{value}" for value in values)])
    first = [ids[min(len(own), len(ids) - 1)] for ids in answered]
    counted = Counter(first)
    return first, [counted[f] == 1 and ids[: len(own)] == own for f, ids in zip(first, answered, strict=True)]
