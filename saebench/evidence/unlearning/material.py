"""A model's activations on texts of a topic and of all else, and its answers: the same for all SAEs at a hook."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from saebench.evidence.unlearning.asked import VERSION, Asked, ask
from saebench.evidence.unlearning.choices import lettered
from saebench.evidence.unlearning.cloze import cloze
from saebench.evidence.unlearning.questions import One, Questions, chosen, single_tokens, together
from saebench.evidence.unlearning.topic import Side, Topic
from saebench.hub.texts import texts_named
from saebench.organism import facts
from saebench.organism.world import VERSION as WORLD
from saebench.organism.world import World
from saebench.record.budget import Budget
from saebench.record.places import organism_folder
from saebench.record.score import Unscored
from saebench.subject.cache import Cache, Inputs
from saebench.subject.corpora import token_ids
from saebench.subject.subject import Subject

LENGTH = 64
"""Tokens of a text by which latents are chosen."""
FEWEST_TEXTS = 64
TEXTS = 2
"""That are looked at for each question that is wanted."""
AT_ONCE = 256
"""Questions that are made into tokens at a time."""
RETAIN = (5, 400, 1280)
"""Questions about what is to stay, for each about the topic, and at least and at most: see `sweep.tolerated`."""


@dataclass(frozen=True)
class Plan:
    """What is read and asked: part of the identity of every score of it."""

    topic: Topic
    budget: Budget
    bos: bool = True

    @property
    def documents(self) -> int:
        return max(FEWEST_TEXTS, self.budget.documents)

    @property
    def questions(self) -> dict[str, tuple[int, int]]:
        """How many of each side for validation and for the test. Few about the topic are asked of every way to clamp."""
        (times, least, most), passages = RETAIN, self.budget.passages
        retain = min(max(times * passages, least), most)
        return {"forget": (passages // 2, passages), "retain": (retain, retain)}

    @property
    def name(self) -> str:
        """Raises OSError where texts are not on this machine."""
        sides = (self.topic.forget, self.topic.retain)
        texts = [f"organism-world@{WORLD}"] if self.topic.of_world else [texts_named(side.texts).name for side in sides]
        texts += [side.choices.source().name for side in sides if side.choices is not None]
        asked = "+".join(f"{validation}/{test}" for validation, test in self.questions.values())
        sizes = f"{self.documents}x{LENGTH},{asked}" + ("" if self.bos else ",without-bos")
        return f"unlearning/{self.topic.name}@{self.topic.digest}/{'+'.join(texts)}/{sizes}"


@dataclass(frozen=True)
class Material:
    """Of one model and hook."""

    name: str
    asked: Asked
    texts: dict[str, Float[Tensor, "token d"]]
    """What an SAE reads on texts of the topic, `forget`, and on all others, `retain`."""
    written: dict[str, Float[Tensor, "token d_out"]]
    """The same where the SAE writes."""


def read_material(subject: Subject, hook: str, out: str, plan: Plan, cache: Cache) -> Material:
    """Through the cache. Raises OSError where texts are not on this machine, and Unscored without questions."""
    inputs: Inputs = {"version": VERSION, "plan": plan.name}
    questions = make_questions(subject.tokenizer, plan)
    asked = ask(subject, hook, out, questions, inputs, cache)
    both = {name: _activations(subject, (hook, out), name, plan, cache) for name in ("forget", "retain")}
    return Material(
        name=f"{subject.digest} {hook} {out} {plan.name}", asked=asked, texts={n: f[0] for n, f in both.items()},
        written={n: f[1] for n, f in both.items()},
    )  # fmt: skip


def _activations(
    subject: Subject, hooks: tuple[str, str], name: str, plan: Plan, cache: Cache
) -> tuple[Tensor, Tensor]:
    """(token, d) at both hooks, without the first token of each text."""
    inputs: Inputs = {
        "version": VERSION,
        "model": subject.digest,
        "plan": plan.name,
        "texts": name,
        "hooks": str(hooks),
    }

    def read() -> dict[str, Tensor]:
        rows = [ids[:LENGTH] for ids in token_ids(subject.tokenizer, _texts(plan, name), bos=plan.bos)]
        rows = [row for row in rows if len(row) == LENGTH]
        if not rows:
            raise Unscored(f"no text of {plan.topic.name} has {LENGTH} tokens")
        tokens, places = torch.tensor(rows), list(dict.fromkeys(hooks))
        parts = subject.batch.over(len(rows), lambda at: [x.cpu() for x in subject.activations(tokens[at], *places)])
        return {hook: torch.cat([part[i] for part in parts])[:, 1:].flatten(0, 1) for i, hook in enumerate(places)}

    found = cache.get(inputs, read, random=False)
    return found[hooks[0]], found[hooks[1]]


def _texts(plan: Plan, name: str) -> list[str]:
    """Documents by which latents are chosen; no question is made of them."""
    if plan.topic.of_world:
        world, slots = World.load(organism_folder()), plan.topic.forget.slots
        return facts.texts(world, slots, plan.documents, f"unlearning {name}", topic=name == "forget")
    return texts_named(getattr(plan.topic, name).texts).texts()[: plan.documents]


def make_questions(tokenizer: Any, plan: Plan) -> Questions:
    """Questions of both sides. Raises Unscored where a side has none."""
    both = (chosen(_questions(tokenizer, plan, name), *counts) for name, counts in plan.questions.items())
    return together(*both, whole=plan.topic.forget.choices is not None)


def _questions(tokenizer: Any, plan: Plan, name: str) -> Iterator[One]:
    side: Side = getattr(plan.topic, name)
    if side.forms:
        return _of_world(tokenizer, side, plan)
    if side.choices is not None:
        return lettered(tokenizer, side.choices.source().questions(), bos=plan.bos)
    texts = texts_named(side.texts).texts()[plan.documents :]
    return cloze(tokenizer, texts[: TEXTS * sum(plan.questions[name])], name)


def _of_world(tokenizer: Any, side: Side, plan: Plan) -> Iterator[One]:
    world = World.load(organism_folder())
    known = {of: facts.known_of(world, of) for of in {form.of for form in side.forms}}
    words = [word for table in known.values() for one in table.values() for word in one.values()]
    single = single_tokens(tokenizer, words)
    asked = facts.questions(world, side.forms, "unlearning", dict.fromkeys(single, True))
    while some := list(islice(asked, AT_ONCE)):
        ids = token_ids(tokenizer, [one.text for one in some], bos=plan.bos)
        for one, prompt in zip(some, ids, strict=True):
            yield One(one.unit, tuple(prompt), tuple(single[word] for word in one.options))
