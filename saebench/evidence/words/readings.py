"""Activations at words: each word as one token after a few in-context prefixes, whose keys and values are computed once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from saebench.evidence.memory import Memory
from saebench.evidence.words.concepts import ConceptSet, Plan, prefixes
from saebench.evidence.words.probes import Probe, fit_probe
from saebench.evidence.words.vocabulary import Split, Word, one_reading_each, token_texts, words_of
from saebench.record.score import Unscored
from saebench.subject.cache import Inputs, Tensors
from saebench.subject.corpora import reference_texts, token_ids
from saebench.subject.prefix import after_prefix
from saebench.subject.subject import Subject

VERSION = 1
"""Of how words are read: another one where readings would change."""
FEWEST_READ = 40
"""Words of a set that a model must have as tokens."""
TAIL = 32
"""Characters before a word that are tokenised with it to see that it is a token of its own."""
ROOM = 16
"""Tokens that must fit into the context after a prefix."""


@dataclass(frozen=True)
class Readings:
    """Activations of a model at words. Nothing here depends on an SAE."""

    plan: Plan
    hook: str
    words: tuple[Word, ...]
    prefix_tokens: tuple[tuple[int, ...], ...]
    x: Float[Tensor, "word prefix d"]
    memory: Memory = field(default_factory=Memory, init=False, compare=False, repr=False)
    """What was derived from it, to be dropped with it."""

    @property
    def concepts(self) -> tuple[str, ...]:
        return self.plan.concepts.concepts

    @cached_property
    def member(self) -> Bool[np.ndarray, "word concept"]:
        """(word, concept)"""
        return self.plan.concepts.membership(self.words)

    @cached_property
    def split(self) -> Int[np.ndarray, " word"]:
        """(word,) `Split` of each word."""
        return np.array([word.split for word in self.words], dtype=np.int8)

    def rows(self, *splits: Split) -> Bool[np.ndarray, " row"]:
        """(row,) whether the word of row `word * prefixes + prefix` is of one of the splits."""
        return np.repeat(np.isin(self.split, splits), self.x.shape[1])


@runtime_checkable
class Keeping(Protocol):
    """What keeps tensors by what they were made from: `saebench.subject.cache.Cache`, or what forgets them in a test."""

    def get(self, inputs: Inputs, compute: Callable[[], Tensors]) -> Tensors: ...


def read_words(subject: Subject, hook: str, plan: Plan, cache: Keeping) -> Readings:
    """Read all words of the plan through the cache. Raises Unscored where the model has too few of them."""
    subject.check_hook(hook)
    found = cache.get(inputs_of(subject, hook, plan), lambda: _read(subject, hook, plan))
    texts = token_texts(subject.tokenizer, found["token"].tolist())
    words = tuple(Word(text, token) for text, token in zip(texts, found["token"].tolist(), strict=True))
    prefix_tokens = tuple(tuple(row[row >= 0].tolist()) for row in found["prefix"])
    return Readings(plan, hook, words, prefix_tokens, found["x"])


def inputs_of(subject: Subject, hook: str, plan: Plan) -> Inputs:
    """What readings depend on: their key in the cache."""
    return {"version": VERSION, "model": subject.digest, "hook": hook, "words": plan.name}


def read_probe(subject: Subject, readings: Readings, cache: Keeping) -> Probe:
    """The probe of the readings' concepts through the cache; fitted on one reading of each train word."""
    count = readings.x.shape[1]
    x, member = readings.x.flatten(0, 1), np.repeat(readings.member, count, axis=0)
    once = one_reading_each([word.text for word in readings.words], count)

    def fit() -> Tensors:
        probe = fit_probe(x, member, readings.rows(Split.TRAIN) & once, readings.rows(Split.VALIDATION))
        return {"direction": probe.direction, "threshold": probe.threshold}

    found = cache.get({**inputs_of(subject, readings.hook, readings.plan), "what": "probe"}, fit)
    return Probe(found["direction"], found["threshold"])


def prompts(subject: Subject, plan: Plan) -> tuple[list[Word], list[list[int]]]:
    """Words that are one token after every prefix, and the prefixes' token ids.

    Raises Unscored where there are too few, or where the model's context is too short.
    """
    counts = _counts(subject) if plan.filter.seen else None
    known = [word for word in words_of(subject.tokenizer, plan.filter, counts) if plan.concepts.knows(word)]
    known = [word for word in known if word.token < subject.n_vocab]
    _check_enough(subject, plan, known)
    texts, used = prefixes(plan.concepts, known, plan.prefixes, plan.examples)
    words = [word for word in known if word not in used]
    tails = [text[-TAIL:] for text in texts]
    whole = np.all([one_token(subject.tokenizer, tail, words, plan.concepts) for tail in tails], axis=0)
    words = plan.chosen([word for word, good in zip(words, whole, strict=True) if good])
    _check_enough(subject, plan, words)
    tokens = [_ids(subject, text + plan.concepts.before) for text in texts]
    longest = max(map(len, tokens)) + ROOM
    if longest > subject.n_ctx:
        raise Unscored(f"the prompts are up to {longest} tokens long, the context of {subject.name} {subject.n_ctx}")
    return words, tokens


def _check_enough(subject: Subject, plan: Plan, words: Sequence[Word]) -> None:
    if len(words) < FEWEST_READ:
        have = f"the vocabulary of {subject.name} has {len(words)} words of {plan.concepts.name} as one token"
        raise Unscored(f"{have}, fewer than {FEWEST_READ}")


def _counts(subject: Subject) -> list[int]:
    """How often each token id occurs in the reference texts."""
    ids = subject.tokenizer(reference_texts(), add_special_tokens=False)["input_ids"]
    counts = np.bincount(np.concatenate([np.array(row) for row in ids]), minlength=len(subject.tokenizer))
    counted: list[int] = counts.tolist()
    return counted


def _ids(subject: Subject, text: str) -> list[int]:
    """As contexts begin, so do prompts."""
    return token_ids(subject.tokenizer, [text])[0]


def one_token(tokenizer: Any, before: str, words: Sequence[Word], concepts: ConceptSet) -> Bool[np.ndarray, " word"]:
    """(word,) whether the word, in its line after `before`, is its own token and leaves the tokens before it alone.

    Where it is read comes from the offsets of the tokens, not from counting them.
    """
    if not words:
        return np.zeros(0, dtype=bool)
    encoded = tokenizer(
        [before + concepts.query(word) for word in words], add_special_tokens=False, return_offsets_mapping=True
    )
    alone = tokenizer(before + concepts.before, add_special_tokens=False)["input_ids"]
    start = len(before + concepts.before)
    found = []
    for word, ids, offsets in zip(words, encoded["input_ids"], encoded["offset_mapping"], strict=True):
        end = start + len(word.text)
        at = [i for i, (low, high) in enumerate(offsets) if low < end and high > start]
        found.append(len(at) == 1 and ids[at[0]] == word.token and ids[: at[0]] == alone)
    return np.array(found, dtype=bool)


def tokens_around(subject: Subject, readings: Readings) -> tuple[tuple[int, ...], Int[Tensor, " concept"]]:
    """Tokens between word and answer, and the first token of every concept's answer.

    Raises Unscored for a concept set whose template asks for no answer or whose answers begin alike.
    """
    concepts = readings.plan.concepts
    if "{concept}" not in concepts.template or (readings.member.sum(axis=1) != 1).any():
        raise Unscored(f"words of {concepts.name} have no single answer that the model could be asked for")
    word = readings.words[0]
    query = subject.tokenizer(concepts.query(word), add_special_tokens=False)["input_ids"]
    lines = [concepts.template.format(word=word.text, concept=name) for name in concepts.concepts]
    ids = subject.tokenizer(lines, add_special_tokens=False)["input_ids"]
    answers = [line[len(query)] for line in ids]
    if len(set(answers)) < len(answers) or any(line[: len(query)] != query for line in ids):
        raise Unscored(f"answers of {concepts.name} are not told apart by their first token")
    return tuple(query[query.index(word.token) + 1 :]), torch.tensor(answers)


def _read(subject: Subject, hook: str, plan: Plan) -> Tensors:
    words, prefix_tokens = prompts(subject, plan)
    tokens = torch.tensor([[word.token] for word in words])
    read = [after_prefix(subject, hook, torch.tensor([ids]), tokens) for ids in prefix_tokens]
    length = max(map(len, prefix_tokens))
    padded = torch.tensor([[*ids, *[-1] * (length - len(ids))] for ids in prefix_tokens])
    return {"x": torch.stack(read, dim=1), "token": tokens[:, 0], "prefix": padded}
