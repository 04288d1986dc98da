"""Activations of a language model at labelled texts: at the last token of each, or at all of them. No SAE is part of it."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from saebench.evidence.labels.parts import Part, parts
from saebench.evidence.memory import Memory
from saebench.organism.labelled import LabelledSet
from saebench.record.score import Unscored
from saebench.subject.cache import Cache, Inputs
from saebench.subject.corpora import token_ids
from saebench.subject.subject import Subject

Pooling = Literal["last", "mean"]
"""As the package sae-probes reads a text, or as SAEBench does: BOS and filling count in neither."""
VERSION = 1
"""Of how texts are read."""
LONGEST = 128
"""Tokens of a text that are read, BOS included: its last ones."""
FILLING = 0
"""Id of what follows a shorter text in a batch; it comes later, so that nothing that is read depends on it."""


@dataclass(frozen=True, eq=False)
class Plan:
    """Which texts are read, of which sets, and how."""

    name: str
    """Stands for all of it."""
    sets: tuple[LabelledSet, ...]
    pooling: Pooling
    transfer: tuple[tuple[str, str], ...] = ()
    """Sets, and those that what is learned on them is asked of."""
    groups: tuple[tuple[str, ...], ...] = ()
    """Sets that tell the classes of one question apart."""


@dataclass(frozen=True, eq=False)
class Readings:
    """Texts of all sets, one after the other, and the activations that stand for them."""

    plan: Plan
    x: Float[Tensor, "row d"]
    """One row per text, or one per token where all of them count."""
    text_of: Int[np.ndarray, " row"]
    """The text of each row, in order."""
    memory: Memory = field(default_factory=Memory, init=False, repr=False)
    """What was derived from it, to be dropped with it."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.plan.sets)

    @cached_property
    def set_of(self) -> Int[np.ndarray, " text"]:
        """The set of each text, in order."""
        found: Int[np.ndarray, " text"] = np.repeat(
            np.arange(len(self.plan.sets)), [len(one.texts) for one in self.plan.sets]
        )
        return found

    @cached_property
    def positive(self) -> Bool[np.ndarray, " text"]:
        return np.concatenate([np.array(one.positive, dtype=np.bool_) for one in self.plan.sets])

    @cached_property
    def other(self) -> Bool[np.ndarray, " text"]:
        """Whether something else is true of each text; False where it is not known of a set."""
        sets = self.plan.sets
        found: Bool[np.ndarray, " text"] = np.concatenate(
            [np.array(one.other or [False] * len(one.texts), dtype=np.bool_) for one in sets]
        )
        return found

    @cached_property
    def part(self) -> Int[np.ndarray, " text"]:
        """`Part` of each text; those of sets that are only there for others are all for testing."""
        found = [
            np.full(len(one.texts), Part.TEST) if one.apart and not one.other else parts(_kinds(one), one.name)
            for one in self.plan.sets
        ]
        every: Int[np.ndarray, " text"] = np.concatenate(found)
        return every

    @cached_property
    def once(self) -> tuple[Int[np.ndarray, " kept"], Int[np.ndarray, " kept"], Int[np.ndarray, " text"]]:
        """Rows that are read alike once, whose they are, and where each text is among those.

        A text stands in several sets, as what is positive in one and negative in others.
        """
        ends = np.cumsum(np.bincount(self.text_of, minlength=len(self.set_of)))
        known: dict[bytes, int] = {}
        first, place = [], []
        for start, end in zip([0, *ends], ends, strict=False):
            key = hashlib.sha256(self.x[start:end].numpy().tobytes()).digest()
            if key not in known:
                first.append(np.arange(start, end))
            place.append(known.setdefault(key, len(known)))
        rows, index = np.concatenate(first), np.array(place)
        return rows, index[self.text_of[rows]], index

    @cached_property
    def pooled(self) -> Float[Tensor, "text d"]:
        """The activation that stands for each text."""
        count = torch.from_numpy(np.bincount(self.text_of, minlength=len(self.set_of))).float()
        total = torch.zeros(len(self.set_of), self.x.shape[1])
        return total.index_add(0, torch.from_numpy(self.text_of), self.x.float()) / count[:, None]

    @cached_property
    def standard(self) -> Float[Tensor, "text d"]:
        """The same about their mean, of mean square 1: what does not depend on the basis that activations are written in."""
        about = self.pooled - self.pooled.mean(0)
        return about / about.square().mean().sqrt().clamp(min=1e-12)


def _kinds(one: LabelledSet) -> NDArray[np.int64]:
    """Which texts are of one kind, each of which has as many in every part."""
    kinds: NDArray[np.int64] = np.array(one.positive, dtype=np.int64)
    return kinds + 2 * np.array(one.other or [False] * len(one.texts), dtype=np.int64)


def read_texts(subject: Subject, hook: str, plan: Plan, cache: Cache) -> Readings:
    """Read all texts of the plan through the cache. Raises Unscored where it has none."""
    if not plan.sets:
        raise Unscored(f"there is no labelled set to be read as the {plan.pooling} of its tokens")
    subject.check_hook(hook)
    texts = [text for one in plan.sets for text in one.texts]
    digest = hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:24]
    inputs: Inputs = {"version": VERSION, "model": subject.digest, "hook": hook, "labelled": digest, "as": plan.pooling}
    found = cache.get(inputs, lambda: _read(subject, hook, texts, plan.pooling), random=False)
    return Readings(plan, found["x"], found["text_of"].numpy())


def _read(subject: Subject, hook: str, texts: Sequence[str], pooling: Pooling) -> dict[str, Tensor]:
    ids = _tokens(subject, texts)
    # Of one length where that is possible: a batch is as long as the longest of it.
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))

    def some(at: slice) -> list[tuple[int, Tensor]]:
        rows = [ids[i] for i in order[at]]
        width = max(map(len, rows))
        tokens = torch.tensor([row + [FILLING] * (width - len(row)) for row in rows])
        read = subject.residual(tokens, hook).cpu()
        first = [len(row) - 1 if pooling == "last" else 1 for row in rows]
        # Copied: a part of a batch would keep all of it.
        own = [x[start : len(row)].clone() for x, start, row in zip(read, first, rows, strict=True)]
        return list(zip(order[at], map(_small, own) if pooling == "mean" else own, strict=True))

    by_text = dict(pair for part in subject.batch.over(len(ids), some) for pair in part)
    x = torch.cat([by_text[i] for i in range(len(ids))])
    return {
        "x": x,
        "text_of": torch.tensor([i for i in range(len(ids)) for _ in by_text[i]]),
    }


def _small(x: Tensor) -> Tensor:
    """A text's, half as large where no value is too large for that: there are many tokens, and means are asked of them."""
    half = x.half()
    return half if bool(torch.isfinite(half).all()) else x


def _tokens(subject: Subject, texts: Sequence[str]) -> list[list[int]]:
    """BOS, where the model knows one, and the last tokens of each text; of one without a token, BOS alone."""
    longest = min(LONGEST, subject.n_ctx)
    found = token_ids(subject.tokenizer, texts)
    cut = [row if len(row) <= longest else row[:1] + row[1 - longest :] for row in found]
    if empty := [text for text, row in zip(texts, cut, strict=True) if len(row) < 2]:
        raise Unscored(f"{len(empty)} labelled texts are no tokens to {subject.name}, among them {empty[0][:40]!r}")
    return cut
