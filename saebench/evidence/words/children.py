"""Child latents: those that detect a part of a concept, in whose words a main latent might be absorbed.

A latent is on at a word where it is active, with more than a hundredth of its largest activation, after at least half
of the prefixes. It is a child of a concept if, on
train and validation words, it is on at two of the concept's words or more, at no more than half of them, nine times
in ten at no others, and if the main latent is no stronger at its words than at the concept's other words: else both
detect the same, and the concept is split. None of this has seen how the main latent does at a test word.

A latent that is on at one word of all, a test word, cannot be judged so. It is a child by being that word's own, if
it writes at least half as much as the main latent does where that is on.

A latent of the split that is on at more than a third of the concept's words is no child: it is a part of the detector.
One that is on at fewer is a child all the same, since the F1-jump rule takes any large part of a concept that is wholly
absorbed for a split. `split=False` counts all of them as children; both numbers are reported.

Control children are alike in all but that they do not imply the concept: no more than 1.5 times the concept's share of
all words are of it, of those that they are on at. Absorbing it would not make an SAE sparser, so what is seen there is
not absorption. Each child is matched with those that are on at the most similar number of the concept's words; words
with a child are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from saebench.stats.statistics import Bools, Floats, Ints

if TYPE_CHECKING:
    from scipy import sparse

    from saebench.evidence.words.detectors import Detectors
    from saebench.evidence.words.study import Study

PRECISE = 0.9
"""Least share of the words where a child is on that are of the concept."""
UNRELATED = 1.5
"""Most of the same for a control child, over the concept's share of all words."""
FEWEST_CHILDREN = 2
"""Words of the concept at which a child is on; at one it may be on by chance."""
LARGEST_PART = 0.5
"""Largest share of the concept's words at which a child is on: beyond it, it detects the concept itself."""
SPLIT_PART = 1 / 3
"""From this share on, a latent of the split is a part of the detector, and no child."""
STRONGER = 1.1
"""How much stronger the main latent may be at a child's words than elsewhere: beyond it both detect the same."""
OWN = 0.5
"""Least strength of a word's own latent, over what the main latent writes where it is on."""
WHISPER = 0.01
"""Share of a latent's largest activation up to which it does not count as active."""


@dataclass(frozen=True)
class ByWord:
    """Latents by word, over its readings."""

    on: sparse.csc_array
    """(word, d_sae) 1 where a latent is active after at least half of the prefixes."""
    mean: sparse.csc_array
    """(word, d_sae) mean activation."""

    def strength(self, latent: int) -> Float[np.ndarray, " word"]:
        """(word,) mean activation of one latent."""
        found: Floats = self.mean[:, [latent]].toarray()[:, 0]
        return found

    def any_on(self, latents: Int[np.ndarray, " latent"]) -> Bool[np.ndarray, " word"]:
        """(word,) whether any of some latents is on."""
        found: Bools = np.asarray(self.on[:, latents].sum(axis=1)).ravel() > 0
        return found


@dataclass(frozen=True)
class Children:
    """Children of one concept's main latent and what they are compared with."""

    latents: Int[np.ndarray, " child"]
    controls: Int[np.ndarray, " control"]
    main: Float[np.ndarray, " word"]
    """Mean activation of the main latent."""
    with_child: Bool[np.ndarray, " word"]
    """Words of the concept at which a child is on."""
    with_control: Bool[np.ndarray, " word"]
    """Words without a child at which a control is on."""
    others: Bool[np.ndarray, " word"]
    """Words of the concept at which no child is on."""
    control_others: Bool[np.ndarray, " word"]


def find_children(study: Study, detectors: Detectors, split: bool = True) -> tuple[Children, ...]:
    """Children of every concept, in the order of concepts; without large latents of the split, or with all of them."""
    return study.memory.get(("children", detectors, split), lambda: _find_children(study, detectors, split))


def _find_children(study: Study, detectors: Detectors, split: bool) -> tuple[Children, ...]:
    words = by_word(study)
    seen = _Seen.of(study, words)
    found = []
    for concept, main in enumerate(detectors.main.tolist()):
        parts = detectors.split_latents(concept)
        large = parts[seen.inside[parts, concept] > SPLIT_PART * (study.member[:, concept] & seen.known).sum()]
        excluded = np.union1d([main], large if split else []).astype(np.intp)
        found.append(_children_of(study, main, words, seen, concept, excluded))
    return tuple(found)


def by_word(study: Study) -> ByWord:
    """Average the readings of every word."""
    from scipy import sparse

    rows = np.arange(len(study.word_of))
    pool = sparse.csr_array((np.ones(len(rows)), (study.word_of, rows)), shape=(len(study.words), len(rows)))
    active = study.latents.copy()
    loudest = np.asarray(abs(study.columns).max(axis=0).todense()).ravel()
    active.data = (np.abs(active.data) > WHISPER * loudest[active.indices]).astype(np.float64)
    count = (pool @ active).tocsc()
    count.data = (2 * count.data >= study.prefixes).astype(np.float64)
    count.eliminate_zeros()
    return ByWord(count, (pool @ study.latents).tocsc() / study.prefixes)


@dataclass(frozen=True)
class _Seen:
    """Where latents are on."""

    known: Bools
    """(word,) train and validation words."""
    at_known: Floats
    """(d_sae,) number of known words."""
    inside: Floats
    """(d_sae, concept) number of the concept's known words."""
    single: Ints
    """Latents that are on at one word of all."""
    single_word: NDArray[np.integer]
    single_strength: Floats

    @classmethod
    def of(cls, study: Study, words: ByWord) -> _Seen:
        known = ~study.test
        on = words.on[known]
        inside = on.T @ study.member[known].astype(np.float64)
        single = np.flatnonzero(np.diff(words.on.indptr) == 1)
        word = words.on.indices[words.on.indptr[single]]
        strength = np.asarray((words.mean[:, single] * words.on[:, single]).sum(axis=0)).ravel()
        return cls(known, np.asarray(on.sum(axis=0)).ravel(), inside, single, word, strength)


def _children_of(study: Study, main_latent: int, words: ByWord, seen: _Seen, concept: int, excluded: Ints) -> Children:
    member, inside = study.member[:, concept], seen.inside[:, concept]
    main, known = words.strength(main_latent), member & seen.known
    part = (inside >= FEWEST_CHILDREN) & (inside <= LARGEST_PART * known.sum())
    part[excluded] = False
    share = inside / np.maximum(seen.at_known, 1)
    sub = _weaker(words, main, known, np.flatnonzero(part & (share >= PRECISE)))
    latents = np.concatenate([sub, np.setdiff1d(_own(words, main, member, seen), excluded)])
    child = member & words.any_on(latents)
    unrelated = part & (share <= UNRELATED * known.sum() / seen.known.sum())
    controls = _matched(inside, sub, _weaker(words, main, known & ~child, np.flatnonzero(unrelated)))
    control = member & words.any_on(controls) & ~child
    return Children(latents, controls, main, child, control, member & ~child, member & ~child & ~control)


def _weaker(words: ByWord, main: Floats, member: Bools, latents: Ints) -> Ints:
    """Those latents at whose words the main latent is no stronger than at the concept's other words."""
    others = member & ~words.any_on(latents)
    if not len(latents) or not others.any():
        return latents[:0]
    on = words.on[member][:, latents]
    at = np.asarray(on.sum(axis=0)).ravel()
    mean = np.asarray(on.T @ main[member]).ravel() / np.maximum(at, 1)
    weaker: Ints = latents[(at > 0) & (mean <= STRONGER * main[others].mean())]
    return weaker


def _own(words: ByWord, main: Floats, member: Bools, seen: _Seen) -> Ints:
    """Latents that are on at one test word of the concept and at no other word of any kind."""
    typical = main[member & seen.known & (main != 0)]
    if not len(typical):
        return np.empty(0, dtype=np.intp)
    of_test_word = (member & ~seen.known)[seen.single_word]
    own: Ints = seen.single[of_test_word & (seen.single_strength >= OWN * typical.mean())]
    return own


def _matched(inside: Floats, children: Ints, controls: Ints) -> Ints:
    """Controls that are, for some child, the closest in the number of the concept's words."""
    if not len(children) or not len(controls):
        return controls[:0]
    distance = np.abs(inside[children][:, None] - inside[controls][None, :])
    matched: Ints = controls[(distance == distance.min(axis=1, keepdims=True)).any(axis=0)]
    return matched
