"""Texts in which latents fire: those that are shown for an explanation, and others on which it is judged.

As Paulo et al. (arXiv 2410.13928) and SAEBench choose them: ten of the strongest and five more, likelier the stronger they
are, are shown; two and two others, and ten in which the latent is inactive, are judged.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from saebench.evidence.trace import Encoded
from saebench.evidence.windows import Active, active, windows_of
from saebench.judges.passages import Passages, pieces_of
from saebench.record.score import Unscored
from saebench.stats.statistics import Floats, seed_of
from saebench.subject.activations import Activations

VERSION = 1
TOP, WEIGHTED = 10, 5
"""Texts that are shown: the strongest, and such as were drawn by their activation."""
TOP_JUDGED, WEIGHTED_JUDGED, INACTIVE_JUDGED = 2, 2, 10
SHOWN, JUDGED = TOP + WEIGHTED, TOP_JUDGED + WEIGHTED_JUDGED
MARKED = 0.01
"""Share of a latent's largest activation from which on a token is marked, as in SAEBench."""


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Of latents that are active in enough windows and silent in enough others; sampled by what they do, not by their index."""

    latents: Int[np.ndarray, " latent"]
    side: Float[np.ndarray, " latent"]
    """1 or -1: what turns each to its positive side."""
    shown: Passages
    """(latent, 15, position) for an explanation; where the latent is active is marked."""
    judged: Passages
    """(latent, 14, position) others, in random order; nothing is marked."""
    fires: Bool[np.ndarray, "latent text"]
    """Whether the latent is active in each of `judged`; where not, it is 0 on all of its tokens."""
    fuzzed: Passages
    """(latent, 8, position) the four active ones of these, once with the right tokens marked and once with as many wrong ones."""
    fits: Bool[np.ndarray, "latent fuzzed"]
    """Whether the right ones are marked."""
    alive: int
    """Latents of the SAE that fire at all."""
    rare: int
    """Of these, such as fire in too few windows to be asked about."""
    dense: int
    """Of these, such as fire in nearly all windows."""

    def __len__(self) -> int:
        return len(self.latents)

    @property
    def partner(self) -> Int[np.ndarray, " latent"]:
        """For each latent another one, whose explanation it is given as a control."""
        return np.roll(np.arange(len(self)), len(self) // 2)


def examples_of(encoded: Encoded, activations: Activations, inside: int, most: int) -> Examples:
    """Examples of at most so many latents. Raises Unscored where there are none to be asked about."""
    vocabulary = activations.subject.n_vocab  # first: of a toy, this says that there are no texts
    windows = windows_of(activations, inside)
    found = active(encoded, windows)
    latents, lots, left = _sampled(found, most)
    draws = Draws(lots, len(windows))
    shown, tests = _chosen(found, latents, draws)
    texts = windows.rows(np.concatenate([shown, tests], axis=1))
    values = found.at(latents, texts)
    ids = windows.ids(texts)
    pieces = pieces_of(activations.subject.tokenizer, ids, vocabulary)
    marked = values > MARKED * values.max(axis=(1, 2), keepdims=True)
    wrong = _wrong(
        marked[:, SHOWN : SHOWN + JUDGED],
        (values == 0)[:, SHOWN : SHOWN + JUDGED] & (ids >= 0)[:, SHOWN : SHOWN + JUDGED],
        draws,
    )
    order, other = draws.orders(tests.shape[1]), draws.orders(2 * JUDGED)
    judged = ids[:, SHOWN:]
    both = np.concatenate([marked[:, SHOWN : SHOWN + JUDGED], wrong], axis=1)
    return Examples(
        latents=latents, side=found.side[latents], shown=Passages(ids[:, :SHOWN], marked[:, :SHOWN], pieces),
        judged=Passages(_in(judged, order), np.zeros(judged.shape, dtype=bool), pieces), fires=order < JUDGED,
        fuzzed=Passages(_in(judged, other % JUDGED), _in(both, other), pieces), fits=other < JUDGED, **left,
    )  # fmt: skip


def _in(values: NDArray[Any], order: NDArray[np.intp]) -> NDArray[Any]:
    """(latent, text, position) each latent's texts in an order of its own."""
    return np.take_along_axis(values, order[..., None], axis=1)


@dataclass(frozen=True)
class Draws:
    """Random numbers that hang on what a latent does, so that neither its index nor other latents matter."""

    lots: Float[np.ndarray, " latent"]
    windows: int

    def uniform(self, purpose: str, count: int) -> Float[np.ndarray, "latent item"]:
        """(latent, item) in [0, 1)."""
        base = np.random.default_rng(seed_of(f"examples.{purpose}")).uniform(0.5, 1.0, size=count)
        return np.mod((1 + self.lots[:, None]) * base * 2.0**20, 1.0)

    def orders(self, count: int) -> Int[np.ndarray, "latent item"]:
        return self.uniform(f"order of {count}", count).argsort(axis=1, kind="stable")


def _sampled(found: Active, most: int) -> tuple[NDArray[np.intp], Floats, dict[str, int]]:
    """Latents by their lots, which are what they drew in the windows where they fire: latents that are alike come once."""
    windows = len(found.windows)
    firing = found.on.astype(bool).astype(np.float64)
    draw = np.random.default_rng(seed_of("examples.latents")).uniform(size=windows)
    lots = np.mod(np.asarray(firing.T @ draw), 1.0)
    times, silent = (np.bincount(side.indices, minlength=side.shape[1]) for side in (found.on, found.any))
    silent = windows - silent
    alive, enough = times > 0, times >= SHOWN + JUDGED
    usable = np.flatnonzero(enough & (silent >= INACTIVE_JUDGED))
    counts = {
        "alive": int(alive.sum()), "rare": int((alive & ~enough).sum()),
        "dense": int((enough & (silent < INACTIVE_JUDGED)).sum()),
    }  # fmt: skip
    if not len(usable):
        raise Unscored(_none(windows, counts))
    chosen, at = np.unique(lots[usable], return_index=True)
    return usable[at[:most]], chosen[:most], counts


def _none(windows: int, counts: dict[str, int]) -> str:
    if not counts["alive"]:
        return f"no latent fires in {windows} windows of texts"
    return (
        f"of {counts['alive']} latents that fire, {counts['rare']} do so in fewer than {SHOWN + JUDGED} of {windows} windows"
        f" and {counts['dense']} in nearly all: none can be asked about"
    )


def _chosen(found: Active, latents: NDArray[np.intp], draws: Draws) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """(latent, text) windows that are shown, and windows that are judged: the active ones come first."""
    peaks = found.peaks(latents)
    windows = peaks.shape[1]
    top = np.argsort(-peaks, axis=1, kind="stable")[:, : TOP + TOP_JUDGED]
    rest = peaks.copy()
    np.put_along_axis(rest, top, 0.0, axis=1)
    with np.errstate(divide="ignore"):
        race = -np.log1p(-draws.uniform("weighted", windows)) / rest  # the smallest are drawn by their activation
    race[np.isnan(race)] = np.inf
    weighted = np.argsort(race, axis=1, kind="stable")[:, : WEIGHTED + WEIGHTED_JUDGED]
    inactive = np.where(_silent(found, latents), draws.uniform("inactive", windows), np.inf)
    shown, judged = list[NDArray[np.intp]](), list[NDArray[np.intp]]()
    for which, kept in ((top, TOP), (weighted, WEIGHTED)):
        mixed = np.take_along_axis(which, draws.orders(which.shape[1]), axis=1)
        shown.append(mixed[:, :kept])
        judged.append(mixed[:, kept:])
    judged.append(np.argsort(inactive, axis=1, kind="stable")[:, :INACTIVE_JUDGED])
    return np.concatenate(shown, axis=1), np.concatenate(judged, axis=1)


def _silent(found: Active, latents: NDArray[np.intp]) -> NDArray[np.bool_]:
    """(latent, window) whether a latent is 0 on all tokens of a window."""
    return np.asarray(found.any[:, latents].toarray().T == 0)


def _wrong(marked: NDArray[np.bool_], free: NDArray[np.bool_], draws: Draws) -> NDArray[np.bool_]:
    """As many other tokens of each text as are marked, drawn from those on which the latent is 0."""
    numbers = draws.uniform("wrong tokens", marked.shape[1] * marked.shape[2]).reshape(marked.shape)
    rank = np.where(free, numbers, np.inf).argsort(axis=2).argsort(axis=2)
    return np.asarray((rank < marked.sum(axis=2, keepdims=True)) & free)
