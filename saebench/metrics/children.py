"""Child latents: those that detect a part of a concept, in whose words a main latent might be absorbed.

A latent is on at a word where it is active after at least half of the prefixes. It is a child of a concept if, on
train and validation words, it is on at two of the concept's words or more, at no more than half of them, nine times
in ten at no others, and if the main latent is no stronger at its words than at the concept's other words: else both
detect the same, and the concept is split. None of this has seen how the main latent does at a test word.

A latent that is on at one word of all, a test word, cannot be judged so. It is a child by being that word's own, if
it writes at least half as much as the main latent does where that is on.

Control children are alike in all but that they do not imply the concept: at least half of the words that they are on
at are not of the concept. Absorbing it would not make an SAE sparser, so what is seen there is not absorption. Each
child has one control of its own, that which is on at the most similar number of the concept's words.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from saebench.vocabulary import Split

if TYPE_CHECKING:
    from scipy import sparse

    from saebench.metrics.detectors import Detectors
    from saebench.study import Study

PRECISE = 0.9
UNRELATED = 0.5
FEWEST = 2
LARGEST_PART = 0.5
STRONGER = 1.1
OWN = 0.5

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class ByWord:
    """Latents by word, over its readings."""

    on: sparse.csc_array
    """(word, d_sae) 1 where a latent is active after at least half of the prefixes."""
    mean: sparse.csc_array
    """(word, d_sae) mean activation."""

    def strength(self, latent: int) -> Floats:
        """(word,) mean activation of one latent."""
        found: Floats = self.mean[:, [latent]].toarray()[:, 0]
        return found

    def any_on(self, latents: Ints) -> Bools:
        """(word,) whether any of some latents is on."""
        found: Bools = np.asarray(self.on[:, latents].sum(axis=1)).ravel() > 0
        return found


@dataclass(frozen=True)
class Children:
    """Children of one concept's main latent and what they are compared with."""

    latents: Ints
    controls: Ints
    main: Floats
    """(word,) mean activation of the main latent."""
    with_child: Bools
    """(word,) words of the concept at which a child is on."""
    with_control: Bools
    others: Bools
    """(word,) words of the concept at which no child is on."""
    control_others: Bools


@lru_cache(maxsize=1)
def find_children(study: Study, detectors: Detectors) -> tuple[Children, ...]:
    """Children of every concept, in the order of concepts; several scores of one study ask for them."""
    words = by_word(study)
    at = _Seen.of(study, words)
    return tuple(_children_of(study, detectors, words, at, concept) for concept in range(len(study.concepts)))


def by_word(study: Study) -> ByWord:
    """Average the readings of every word."""
    from scipy import sparse

    rows = np.arange(len(study.word_of))
    pool = sparse.csr_array(
        (np.full(len(rows), 1 / study.prefixes), (study.word_of, rows)), shape=(len(study.words), len(rows))
    )
    active = study.latents.copy()
    active.data = (active.data > 0).astype(np.float64)
    share = (pool @ active).tocsc()
    share.data = (share.data >= 0.5).astype(np.float64)
    share.eliminate_zeros()
    return ByWord(share, (pool @ study.latents).tocsc())


@dataclass(frozen=True)
class _Seen:
    """Where latents are on."""

    known: Bools
    """(word,) train and validation words."""
    anywhere: Floats
    """(d_sae,) number of words."""
    at_known: Floats
    """(d_sae,) number of known words."""
    inside: Floats
    """(d_sae, concept) number of the concept's known words."""

    @classmethod
    def of(cls, study: Study, words: ByWord) -> _Seen:
        known = study.split != Split.TEST
        on = words.on[known]
        inside = on.T @ study.member[known].astype(np.float64)
        return cls(known, np.asarray(words.on.sum(axis=0)).ravel(), np.asarray(on.sum(axis=0)).ravel(), inside)


def _children_of(study: Study, detectors: Detectors, words: ByWord, seen: _Seen, concept: int) -> Children:
    member, inside = study.member[:, concept], seen.inside[:, concept]
    main, split = words.strength(detectors.main[concept]), detectors.split_latents(concept)
    part = (inside >= FEWEST) & (inside <= LARGEST_PART * (member & seen.known).sum())
    part[split] = False
    share = inside / np.maximum(seen.at_known, 1)
    sub = _weaker(words, main, member & seen.known, np.flatnonzero(part & (share >= PRECISE)))
    apart = _weaker(words, main, member & seen.known, np.flatnonzero(part & (share <= UNRELATED)))
    apart = _matched(inside, sub, apart)
    latents = np.concatenate([sub, np.setdiff1d(_own(words, main, member, seen), split)])
    child, control = member & words.any_on(latents), member & words.any_on(apart)
    return Children(latents, apart, main, child, control, member & ~child, member & ~control)


def _weaker(words: ByWord, main: Floats, member: Bools, latents: Ints) -> Ints:
    """Those latents at whose words the main latent is no stronger than at the concept's other words."""
    others = member & ~words.any_on(latents)
    if not len(latents) or not others.any():
        return latents[:0]
    on = words.on[member][:, latents]
    mean = np.asarray(on.T @ main[member]).ravel() / np.asarray(on.sum(axis=0)).ravel()
    weaker: Ints = latents[mean <= STRONGER * main[others].mean()]
    return weaker


def _own(words: ByWord, main: Floats, member: Bools, seen: _Seen) -> Ints:
    """Latents that are on at one test word of the concept and at no other word of any kind."""
    typical = main[member & seen.known & (main > 0)]
    if not len(typical):
        return np.empty(0, dtype=np.intp)
    test = member & ~seen.known
    if not test.any():
        return np.empty(0, dtype=np.intp)
    single = np.flatnonzero((np.asarray(words.on[test].sum(axis=0)).ravel() == 1) & (seen.anywhere == 1))
    # Each is on at one word only, so that the sum over words is its strength there.
    strength = np.asarray((words.mean[test][:, single] * words.on[test][:, single]).sum(axis=0)).ravel()
    own: Ints = single[strength >= OWN * typical.mean()]
    return own


def _matched(inside: Floats, children: Ints, controls: Ints) -> Ints:
    """One control per child, the closest in the number of the concept's words, none twice."""
    from scipy.optimize import linear_sum_assignment

    if not len(children) or not len(controls):
        return controls[:0]
    distance = np.abs(inside[children][:, None] - inside[controls][None, :])
    _, chosen = linear_sum_assignment(distance)
    matched: Ints = controls[chosen]
    return matched
