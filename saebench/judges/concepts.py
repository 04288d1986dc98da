"""Concepts of the embedded model's world as sets of tokens: what the exact judge explains by."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from saebench.organism.lexicon import load_lexicon
from saebench.organism.truth import TokenTruth, vocabulary_truth
from saebench.organism.world import VERSION
from saebench.record.places import organism_folder


@dataclass(frozen=True)
class Concepts:
    """All of them, from general to specific: where two are equally good, the first is taken."""

    names: list[str]
    tokens: sparse.csr_array
    """(concept, vocabulary + 1) 1 where a token is of the concept; the last column is that of no token."""

    @property
    def version(self) -> str:
        """Of the world that they are of."""
        return VERSION

    @cached_property
    def place(self) -> dict[str, int]:
        return {name: at for at, name in enumerate(self.names)}


def world_concepts(tokenizer: Any) -> Concepts:
    """Categories, subcategories, attributes' values, first letters, and every token by itself."""
    truths = vocabulary_truth(load_lexicon(organism_folder()), tokenizer)
    found: dict[str, list[int]] = {}
    for kind in (_levels, _attributes, _letters):
        for token, truth in enumerate(truths):
            for name in kind(truth):
                found.setdefault(name, []).append(token)
    several = {name: tokens for name, tokens in found.items() if len(tokens) > 1}
    alone = {f"the token {truth.text!r}": [token] for token, truth in enumerate(truths)}
    return _concepts({**several, **alone}, len(truths))


def _levels(truth: TokenTruth) -> Iterable[str]:
    """The last level of a path is the word itself."""
    return (f"words of the kind {level}" for level in truth.path[:-1])


def _attributes(truth: TokenTruth) -> Iterator[str]:
    whose = truth.path[0] if truth.path else ""
    return (f"names of a {whose} with {name} {value}" for name, value in truth.attributes.items())


def _letters(truth: TokenTruth) -> Iterable[str]:
    return [f"words that begin with {truth.letter}"] if truth.letter else []


def _concepts(found: dict[str, list[int]], vocabulary: int) -> Concepts:
    sizes = np.array([len(tokens) for tokens in found.values()])
    columns = np.concatenate([np.array(tokens) for tokens in found.values()])
    ends = np.concatenate([[0], sizes.cumsum()])
    table = sparse.csr_array((np.ones(len(columns)), columns, ends), shape=(len(found), vocabulary + 1))
    return Concepts(list(found), table)
