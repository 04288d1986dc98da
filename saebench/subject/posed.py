"""Cloze questions as rows of tokens, and the places in them where the model is asked what comes next."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from saebench.record.questions import Question, digest
from saebench.subject.corpora import Rows, token_ids

Ids = tuple[int, ...]


@dataclass(frozen=True)
class Marks:
    """How one model answers each question."""

    right: Bool[np.ndarray, " question"]
    """Whether the right option is likelier than every other; without others, each of its tokens the likeliest of all."""
    log_p: Float[np.ndarray, " question"]
    """Logarithm of the probability of the right option among all options, or of its tokens where there are none, in nats."""


@dataclass(frozen=True)
class Posed:
    """Questions for one model: texts to be read, and the terms that say how likely each option is.

    Where one row is the beginning of another, they are one.
    """

    name: str
    questions: tuple[Question, ...]
    passage: Int[np.ndarray, " question"]
    """Tokens of each passage, the first one of the model's included."""
    tokens: Int[Tensor, "row position"]
    length: Int[Tensor, " row"]
    row: Int[Tensor, " point"]
    position: Int[Tensor, " point"]
    """Where the next token is asked for."""
    point: Int[Tensor, " term"]
    token: Int[Tensor, " term"]
    """What comes next there, if the option is right."""
    begin: Int[np.ndarray, " option"]
    """The first of its terms."""
    first: Int[np.ndarray, " question"]
    """The right option; those up to the next question's are wrong."""
    refused: int = 0
    """Questions that were left out, since they take more positions than may be read."""

    @property
    def documents(self) -> int:
        return len(self.tokens)

    @property
    def context(self) -> int:
        return int(self.tokens.shape[1])

    @property
    def reserved(self) -> int:
        return self.documents

    def rows(self, tokenizer: Any) -> Rows:
        return Rows(self.tokens, self.length)

    def others(self, documents: int, context: int, after: int) -> "Posed":
        raise ValueError(f"{self.name} are questions, and no texts of which there are others")

    def marks(self, log_p: Float[Tensor, " term"], likeliest: Int[Tensor, " point"]) -> Marks:
        """Of the log-probability of each term, and the likeliest token at each point."""
        score = np.add.reduceat(log_p.double().numpy(), self.begin)
        greedy = np.logical_and.reduceat((likeliest[self.point] == self.token).numpy(), self.begin)
        wrong, right = score.copy(), score[self.first]
        wrong[self.first] = -np.inf
        closed = np.array([bool(question.others) for question in self.questions])
        found = np.where(closed, right > np.maximum.reduceat(wrong, self.first), greedy[self.first])
        among = np.logaddexp.reduceat(score, self.first)
        return Marks(found, np.where(closed, right - among, right))


@dataclass(frozen=True)
class _Split:
    """A question as ids: its passage, and its options, of whose tokens only those are here that are looked at."""

    question: Question
    passage: Ids
    options: tuple[Ids, ...]

    @property
    def longest(self) -> int:
        return len(self.passage) + max(map(len, self.options)) - 1


def pose(name: str, questions: Sequence[Question], tokenizer: Any, most: int, *, bos: bool = True) -> Posed:
    """Questions as tokens. Those that take more than `most` positions are counted and left out.

    An option is told by its first token where all of a question differ in it, else by all of its tokens. Raises
    ValueError if no question is left.
    """
    split = list(_split(questions, tokenizer, bos))
    kept = [one for one in split if one.longest <= most]
    if not kept:
        raise ValueError(f"{name}: each of its {len(split)} passages takes more than {most} tokens")
    options = [(one.passage, option) for one in kept for option in one.options]
    terms = [(passage + option[:i], option[i]) for passage, option in options for i in range(len(option))]
    rows, row_of = _rows({before for before, _ in terms})
    points = {before: i for i, before in enumerate(dict.fromkeys(before for before, _ in terms))}
    width = len(rows[-1])
    return Posed(
        name=f"{name}/{digest(one.question for one in kept)}", questions=tuple(one.question for one in kept),
        passage=np.array([len(one.passage) for one in kept]),
        tokens=torch.tensor([[*ids, *[ids[0]] * (width - len(ids))] for ids in rows]),
        length=torch.tensor([len(ids) for ids in rows]),
        row=torch.tensor([row_of[before] for before in points]),
        position=torch.tensor([len(before) - 1 for before in points]),
        point=torch.tensor([points[before] for before, _ in terms]), token=torch.tensor([token for _, token in terms]),
        begin=_starts(len(option) for _, option in options), first=_starts(len(one.options) for one in kept),
        refused=len(split) - len(kept),
    )  # fmt: skip


def _starts(sizes: Iterable[int]) -> Int[np.ndarray, " part"]:
    """Where each of several parts of these sizes begins."""
    return np.cumsum([0, *sizes])[:-1]


def _split(questions: Sequence[Question], tokenizer: Any, bos: bool) -> Iterator[_Split]:
    passages = token_ids(tokenizer, [question.passage for question in questions], bos=bos)
    for question, passage in zip(questions, passages, strict=True):
        whole = [f"{question.passage} {option}" for option in question.options]
        joint, alone = (
            token_ids(tokenizer, whole, bos=bos),
            token_ids(tokenizer, [f" {o}" for o in question.options], bos=False),
        )
        options = [
            tuple(ids[len(passage) :] if ids[: len(passage)] == passage and len(ids) > len(passage) else own)
            for ids, own in zip(joint, alone, strict=True)
        ]  # fmt: skip
        told_apart = len({option[0] for option in options}) == len(options) > 1
        yield _Split(question, tuple(passage), tuple(option[:1] if told_apart else option for option in options))


def _rows(befores: Iterable[Ids]) -> tuple[list[Ids], dict[Ids, int]]:
    """Rows from the shortest to the longest, and which row each beginning is one of."""
    ordered = sorted(befores, reverse=True)
    whole = dict[Ids, Ids]()
    longest = ordered[0]
    for before in ordered:
        longest = longest if longest[: len(before)] == before else before
        whole[before] = longest
    rows = sorted(set(whole.values()), key=lambda ids: (len(ids), ids))
    number = {ids: i for i, ids in enumerate(rows)}
    return rows, {before: number[ids] for before, ids in whole.items()}
