"""What a language model says of entities by itself: which of its answers are right, and its activations at their names."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property, partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from saebench.evidence.entities.facts import Facts
from saebench.evidence.entities.question import PAD, Question
from saebench.evidence.entities.wording import Wording, worded
from saebench.record.score import Unscored
from saebench.stats.statistics import seed_of
from saebench.subject.cache import Cache, Inputs, Tensors
from saebench.subject.subject import Subject

VERSION = 2
"""Of how entities are asked about: another one where readings would change."""
FEWEST = 20
"""Entities whose names a model must have as tokens of their own."""
SHARES = (0.5, 0.7)
"""Up to where entities are for training, and for validation; the others are scored."""


KEPT = ("right", "x", "target", "entering")


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
    tokens: tuple[Int[Tensor, "entity _"], ...]
    """Per question, the tokens of names, which end in the last column."""
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
    """Whether the model gives the entity's own value the largest logit of all values, and no other begins as it does."""

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

    An entity counts where its name is tokens of its own in all sentences. Where `facts.known` says so, only as many are
    kept as are known best.
    """
    subject.check_hook(hook)
    wordings, names = _wordings(subject, facts)
    questions = tuple(_question(subject, wording, facts, out) for wording in wordings)
    inputs = inputs_of(subject, facts, hook, out)
    if facts.known is not None and len(names) > facts.known:
        tried = _read_all(questions, wordings, facts, names, hook, cache, inputs, KEPT[:1])
        best = np.argsort(-np.stack([each["right"].numpy() for each in tried]).mean(axis=0), kind="stable")
        names = [names[at] for at in sorted(best[: facts.known].tolist())]
    found = _read_all(questions, wordings, facts, names, hook, cache, inputs, KEPT)
    x, target, entering = (tuple(each[name] for each in found) for name in ("x", "target", "entering"))
    right = np.stack([each["right"].numpy() > 0 for each in found])
    tokens = tuple(_tokens(wording, names) for wording in wordings)
    return Asked(facts, tuple(names), tokens, _value(facts, names), questions, x, target, entering, right)


def inputs_of(subject: Subject, facts: Facts, hook: str, out: str) -> Inputs:
    """What readings depend on: their key in the cache."""
    return {
        "what": "entities", "version": VERSION, "model": subject.digest, "hook": hook, "out": out, "facts": facts.name,
        "digest": facts.digest,
    }  # fmt: skip


def _wordings(subject: Subject, facts: Facts) -> tuple[list[Wording], list[str]]:
    """Of each question, and the names that are tokens of their own in all of them."""
    found = [
        worded(subject.tokenizer, template, list(facts.values), values)
        for values, templates in zip(facts.known_values, facts.templates.values(), strict=True)
        for template in templates
    ]
    names = [name for name in facts.values if all(name in wording.names for wording in found)]
    if len(names) < FEWEST:
        raise Unscored(
            f"of the names of {facts.name}, {len(names)} are tokens of {subject.name} of their own: fewer than {FEWEST}"
        )
    return found, names


def _value(facts: Facts, names: Sequence[str]) -> Int[np.ndarray, "entity attribute"]:
    order = [{value: number for number, value in enumerate(values)} for values in facts.known_values]
    return np.array([[order[a][value] for a, value in enumerate(facts.values[name])] for name in names])


def _tokens(wording: Wording, names: Sequence[str]) -> Int[Tensor, "entity longest"]:
    ids = [wording.names[name] for name in names]
    longest = max(map(len, ids))
    return torch.tensor([[PAD] * (longest - len(each)) + each for each in ids])


def _question(subject: Subject, wording: Wording, facts: Facts, hook: str) -> Question:
    prefix, suffix, answers = map(torch.tensor, (wording.prefix, wording.suffix, wording.answers))
    return Question(subject, hook, prefix, suffix, answers, 1 + len(suffix) if facts.onward else 1)


def _read_all(
    questions: Sequence[Question], wordings: Sequence[Wording], facts: Facts, names: Sequence[str], hook: str,
    cache: Cache, inputs: Inputs, kept: Sequence[str],
) -> list[Tensors]:  # fmt: skip
    """What is kept of each question, through the cache."""
    value, templates = _value(facts, names), len(questions) // len(facts.attributes)
    return [
        cache.get(
            {**inputs, "question": number, "kept": " ".join(kept), "entities": len(names)},
            partial(_read, question, wordings[number], names, value[:, number // templates], hook, kept),
            random=False,
        )
        for number, question in enumerate(questions)
    ]


def _read(
    question: Question, wording: Wording, names: Sequence[str], own: Int[np.ndarray, " entity"], hook: str,
    kept: Sequence[str],
) -> Tensors:  # fmt: skip
    tokens = _tokens(wording, names)
    x, target, entering = question.read(tokens, hook, question.hook, question.entry)
    last = tokens.shape[1] - 1
    sites = slice(last, last + question.sites)
    with torch.no_grad():
        said = question.logits(tokens, entering, target[:, sites]).argmax(1).numpy()
    right = (said == own) & np.array(wording.told)[own]
    found = {"x": x[:, sites], "target": target[:, sites], "entering": entering}
    return {"right": torch.from_numpy(right).float(), **{name: found[name] for name in kept if name in found}}
