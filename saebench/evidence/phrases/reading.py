"""A language model's activations on the texts of a phrase bank: each alone in its context, read once for all SAEs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse
from torch import Tensor

from saebench.evidence.phrases.bank import Bank
from saebench.record.score import Unscored
from saebench.stats.statistics import seed_of
from saebench.subject.cache import Inputs, Tensors
from saebench.subject.corpora import token_ids
from saebench.subject.subject import Subject

VERSION = 1
"""Of how phrases are read: another one where readings would change."""
CONTROLS = 20
"""Controls of each phrase."""
TEXTS_PER_PASS = 64


@runtime_checkable
class Keeping(Protocol):
    """What keeps tensors by what they were made from, as `saebench.subject.cache.Cache` does."""

    def get(self, inputs: Inputs, compute: Callable[[], Tensors], *, random: bool = ...) -> Tensors: ...


@dataclass(frozen=True, eq=False)
class Reading:
    """What a bank's texts are in a model, without the first position, which is BOS. Nothing here depends on an SAE."""

    bank: Bank
    x: Float[Tensor, "token d"]
    text_of: Int[np.ndarray, " token"]
    """(token,) index of its text among `bank.texts`."""

    @cached_property
    def length(self) -> Int[np.ndarray, " text"]:
        """(text,) tokens."""
        return np.bincount(self.text_of, minlength=len(self.bank.texts))

    @cached_property
    def matched(self) -> sparse.csr_array:
        """(phrase, phrase) weights that add up to 1 over each phrase's controls.

        They are the phrases of other features, about none of its feature's subjects, that are nearest in length; which
        ones of equal length is drawn by lot. Raises Unscored where a phrase has none.
        """
        bank, count = self.bank, len(self.bank.phrases)
        length, allowed = self.length[:count], bank.apart[bank.feature_of]
        if not allowed.any(axis=1).all():
            raise Unscored("some phrases of the bank share their subjects with all others: they have no controls")
        rng = np.random.default_rng(seed_of("decomposability.controls"))
        unlike = np.abs(length[:, None] - length[None]) + rng.random((count, count))
        unlike = np.where(allowed, unlike, np.inf)
        order = np.argsort(unlike, axis=1)[:, :CONTROLS]
        kept = np.isfinite(np.take_along_axis(unlike, order, axis=1))
        row, place = kept.nonzero()
        weight = 1 / kept.sum(axis=1)[row]
        return sparse.csr_array((weight, (row, order[row, place])), shape=(count, count))


def joined(first: Reading, second: Reading) -> Reading:
    """Both banks as one, named after the first, whose features come first."""
    banks = [part.bank for part in (first, second)]
    sizes = [[len(bank.phrases), len(bank.near_of), len(bank.naming_of)] for bank in banks]
    before = np.cumsum([[0, 0, 0], *sizes], axis=0)
    starts = np.concatenate([[0], np.cumsum(np.sum(sizes, axis=0))])
    text_of = []
    for part, size, own in zip((first, second), sizes, before[:2], strict=True):
        kind = np.searchsorted(np.cumsum(size), part.text_of, side="right")
        inner = part.text_of - np.concatenate([[0], np.cumsum(size)])[kind]
        text_of.append(starts[kind] + own[kind] + inner)
    bank = Bank(banks[0].name, tuple(feature for part in banks for feature in part.features))
    return Reading(bank, torch.cat([first.x, second.x]), np.concatenate(text_of))


def read_phrases(subject: Subject, hook: str, bank: Bank, cache: Keeping) -> Reading:
    """Read all texts of the bank through the cache. Raises Unscored where a text does not fit into the model's context."""
    subject.check_hook(hook)
    inputs: Inputs = {"version": VERSION, "model": subject.digest, "hook": hook, "phrases": bank.identity}
    found = cache.get(inputs, partial(_read, subject, hook, bank), random=False)
    return Reading(bank, found["x"], found["text"].numpy())


def _read(subject: Subject, hook: str, bank: Bank) -> Tensors:
    """Texts of like length run together; behind the end of each is filling, which changes nothing before it."""
    ids = token_ids(subject.tokenizer, bank.texts)
    if (longest := max(map(len, ids))) > subject.n_ctx:
        raise Unscored(f"a phrase is {longest} tokens long, the context of {subject.name} {subject.n_ctx}")
    if min(map(len, ids)) < 2:
        raise Unscored("a phrase of the bank is one token, which begins the context and counts in no score")
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    some = [order[start : start + TEXTS_PER_PASS] for start in range(0, len(order), TEXTS_PER_PASS)]
    parts = [_pass(subject, hook, which, [ids[i] for i in which]) for which in some]
    x, text = (torch.cat(column) for column in zip(*parts, strict=True))
    place = torch.argsort(text, stable=True)
    return {"x": x[place], "text": text[place]}


def _pass(subject: Subject, hook: str, which: list[int], rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Activations (token, d) and texts (token,) of some texts."""
    length = torch.tensor([len(row) for row in rows])
    width = int(length.max())
    tokens = torch.tensor([row + [row[-1]] * (width - len(row)) for row in rows])
    found = torch.cat(subject.batch.over(len(rows), lambda at: subject.residual(tokens[at], hook).cpu()))
    own = torch.arange(width)[None] < length[:, None]
    own[:, 0] = False
    return found[own], torch.tensor(which)[:, None].expand(-1, width)[own]
