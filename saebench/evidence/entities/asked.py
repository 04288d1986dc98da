"""What a language model says of entities by itself: which of its answers are right, and its activations at their names."""

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property, partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from saebench.evidence.entities.facts import SLOT, Facts
from saebench.evidence.entities.question import Question
from saebench.record.score import Unscored
from saebench.stats.statistics import seed_of
from saebench.subject.cache import Cache, Inputs, Tensors
from saebench.subject.corpora import token_ids
from saebench.subject.subject import Subject

VERSION = 1
"""Of how entities are asked about: another one where readings would change."""
FEWEST = 20
"""Entities whose names a model must have as single tokens."""
SHARES = (0.5, 0.7)
"""Up to where entities are for training, and for validation; the others are scored."""


class Part(IntEnum):
    """Latents are ranked on the entities of the first part, counted on those of the second, scored on the third."""

    TRAIN = 0
    VALIDATION = 1
    TEST = 2


@dataclass(frozen=True, eq=False)
class Asked:
    """One kind of entity at one hook; nothing here depends on an SAE. Questions are attributes times templates."""

    facts: Facts
    names: tuple[str, ...]
    tokens: Int[Tensor, " entity"]
    value: Int[np.ndarray, "entity attribute"]
    """Index of each value among all values of its attribute."""
    questions: tuple[Question, ...]
    """One per attribute and template, those of an attribute together."""
    x: tuple[Float[Tensor, "entity _ d"], ...]
    """Per question, activations that an SAE reads, at what is patched."""
    target: tuple[Float[Tensor, "entity _ d_out"], ...]
    """Per question, activations in whose place it writes: the same, but for a transcoder."""
    entering: tuple[Float[Tensor, "entity _ d_entry"], ...]
    """Per question, what passes begin with."""
    right: Bool[np.ndarray, "question entity"]
    """Whether the model gives the entity's own value the largest logit of all values."""

    @property
    def templates(self) -> int:
        return len(self.questions) // len(self.facts.attributes)

    def number(self, attribute: int, template: int) -> int:
        """Index of a question."""
        return attribute * self.templates + template

    @cached_property
    def part(self) -> Int[np.ndarray, " entity"]:
        """The `Part` of each entity, which hangs on its name and on who else there is."""
        order = np.argsort([seed_of(f"entities.part of {name}") for name in self.names], kind="stable")
        share = np.empty(len(order))
        share[order] = (np.arange(len(order)) + 0.5) / len(order)
        return np.searchsorted(SHARES, share)

    def pairs(self, part: Part, most: int) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]:
        """Up to `most` pairs of two entities of a part, (base, source): each as often a base as any other, but for one.

        More pairs hold all that fewer do.
        """
        of_part = np.flatnonzero(self.part == part)
        rng = np.random.default_rng(seed_of(f"entities.pairs of {self.facts.name}"))
        order, n = rng.permutation(of_part), len(of_part)
        turns = rng.permutation(np.arange(1, n))[: -(-most // n)]
        at = (np.arange(n) + turns[:, None]) % n
        return np.tile(order, len(turns))[:most], order[at].ravel()[:most]

    def usable(
        self, question: int, base: Int[np.ndarray, " pair"], source: Int[np.ndarray, " pair"]
    ) -> Bool[np.ndarray, " pair"]:
        """(pair,) whether the two have different values and the model is right about both."""
        value, right = self.value[:, question // self.templates], self.right[question]
        found: np.ndarray = right[base] & right[source] & (value[base] != value[source])
        return found


def ask(subject: Subject, facts: Facts, hook: str, out: str, cache: Cache) -> Asked:
    """Ask for every attribute of every entity, through the cache. Raises Unscored where a model has too few of the names.

    An entity counts where its name, after a space, is one token of the model.
    """
    subject.check_hook(hook)
    names, tokens = _names(subject, facts)
    questions = tuple(
        _question(subject, facts, template, values, out)
        for values, templates in zip(_values(facts), facts.templates.values(), strict=True)
        for template in templates
    )
    value = np.array([[_values(facts)[a].index(v) for a, v in enumerate(facts.values[name])] for name in names])
    own = np.repeat(value.T, len(questions) // len(facts.attributes), axis=0)
    found = [
        cache.get(
            {**inputs_of(subject, facts, hook, out), "question": number},
            partial(_read, question, tokens, torch.from_numpy(own[number]), hook), random=False,
        )
        for number, question in enumerate(questions)
    ]  # fmt: skip
    x, target, entering = (tuple(each[name] for each in found) for name in ("x", "target", "entering"))
    right = np.stack([each["right"].numpy() > 0 for each in found])
    return Asked(facts, names, tokens, value, questions, x, target, entering, right)


def inputs_of(subject: Subject, facts: Facts, hook: str, out: str) -> Inputs:
    """What readings depend on: their key in the cache."""
    return {
        "what": "entities", "version": VERSION, "model": subject.digest, "hook": hook, "out": out, "facts": facts.name,
        "digest": facts.digest,
    }  # fmt: skip


def _values(facts: Facts) -> list[list[str]]:
    """All values of each attribute, in alphabetical order."""
    return [sorted(set(column)) for column in zip(*facts.values.values(), strict=True)]


def _names(subject: Subject, facts: Facts) -> tuple[tuple[str, ...], Tensor]:
    ids = subject.tokenizer([f" {name}" for name in facts.values], add_special_tokens=False)["input_ids"]
    kept = {name: found[0] for name, found in zip(facts.values, ids, strict=True) if len(found) == 1}
    if len(kept) < FEWEST:
        raise Unscored(
            f"of the names of {facts.name}, {len(kept)} are one token of {subject.name}: fewer than {FEWEST}"
        )
    return tuple(kept), torch.tensor(list(kept.values()))


def _question(subject: Subject, facts: Facts, template: str, values: list[str], hook: str) -> Question:
    """Raises Unscored where names or values are not told apart by single tokens in this sentence."""
    before, after = (part.rstrip(" ") if at == 0 else part for at, part in enumerate(template.split(SLOT)))
    prefix = token_ids(subject.tokenizer, [before])[0]
    suffix, *answers = subject.tokenizer(
        [after, *(f" {value}" for value in values)], add_special_tokens=False
    )["input_ids"]  # fmt: skip
    first = [ids[0] for ids in answers]
    if len(set(first)) < len(first):
        same = next(value for at, value in enumerate(values) if first[at] in first[:at])
        raise Unscored(f"values of {facts.name} are not told apart by their first token, {same!r} among them")
    if not prefix:
        raise Unscored(f"{subject.name} knows no token that a text begins with, and {template!r} begins with a name")
    sites = 1 + len(suffix) if facts.onward else 1
    return Question(subject, hook, torch.tensor(prefix), torch.tensor(suffix), torch.tensor(first), sites)


def _read(question: Question, tokens: Tensor, own: Tensor, hook: str) -> Tensors:
    x, target, entering = question.read(tokens, hook, question.hook, question.entry)
    sites = slice(0, question.sites)
    with torch.no_grad():
        said = question.logits(tokens, entering, target[:, sites]).argmax(1)
    return {"x": x[:, sites], "target": target[:, sites], "entering": entering, "right": (said == own).float()}
