"""Words whose features are known, SAEs that absorb a planted share of a feature, and the same SAEs in other words."""

import inspect
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import planted
import torch
from numpy.typing import NDArray
from torch import Tensor

from saebench.evidence.words.concepts import ConceptSet, Plan
from saebench.evidence.words.detectors import Detectors, find_detectors
from saebench.evidence.words.probes import Probe, fit_probe
from saebench.evidence.words.readings import Readings
from saebench.evidence.words.study import Study, make_study
from saebench.evidence.words.vocabulary import Split, Word, WordFilter
from saebench.metrics import absorption, first_letter
from saebench.record.score import Estimate, Unscored

torch.set_num_threads(1)
WORDS = (27, 12, 21)
"""Train, validation and test words of every concept."""
SMALL = ((2, 0, 3), (2, 0, 2), (0, 0, 1))
"""Train, validation and test words of every child of a concept; the last is the own latent of a test word.

No child is on at a validation word: at full absorption a child that is would count as a part of the split.
"""
THRESHOLD = 0.1
"""Activations below it are zero; between the noise and what a delta of .75 leaves of the parent."""

Score = Callable[[Study, Detectors], Estimate]
Bools = NDArray[np.bool_]
Outcome = tuple[float, ...] | str
"""Value, interval and minimum detectable difference, or the reason why there is none."""


@dataclass(frozen=True)
class World:
    """Activations that are sums of orthogonal features: one per concept, children, unrelated ones, one per prefix."""

    readings: Readings
    probe: Probe
    directions: Tensor
    """(feature, d) orthonormal: parents, then children, unrelated ones and prefixes."""
    mean: Tensor
    parent_of: tuple[int, ...]
    """(child,) index of the concept."""
    on: Bools
    """(word, feature)"""

    @property
    def parents(self) -> list[int]:
        return list(range(len(self.readings.concepts)))

    @property
    def children(self) -> list[int]:
        return [len(self.parents) + child for child in range(len(self.parent_of))]

    @property
    def unrelated(self) -> list[int]:
        first, prefixes = len(self.parents) + len(self.children), self.readings.x.shape[1]
        return list(range(first, len(self.directions) - prefixes))


@cache
def world(
    children: tuple[tuple[int, int, int], ...] = SMALL, *, concepts: int = 6, words: tuple[int, int, int] = WORDS,
    prefixes: int = 4, unrelated: int = 12, noise: float = 0.01, jitter: float = 0.02, seed: int = 0,
) -> World:  # fmt: skip
    """Features are about 1 where they are on, `jitter` says how nearly; `noise` is added in every dimension."""
    rng = np.random.default_rng(seed)
    known, concept_set = make_words(concepts, words, seed)
    member, split = concept_set.membership(known), np.array([word.split for word in known])
    parent_of = tuple(concept for concept in range(concepts) for _ in children)
    parts = [part for concept in range(concepts) for part in _parts(member[:, concept], split, children, rng)]
    elsewhere = [_unrelated(member, split, rng) for _ in range(unrelated)]
    on = np.stack([*member.T, *parts, *elsewhere], axis=1)
    levels = _levels(on, prefixes, jitter, rng)
    basis = rotation(levels.shape[2] + 12, seed)
    directions, mean = basis[: levels.shape[2]], 3 * basis[-1]
    noises = noise * rng.standard_normal((*levels.shape[:2], len(basis)))
    x = torch.from_numpy(levels).float() @ directions + mean + torch.from_numpy(noises).float()
    readings = Readings(Plan(concept_set, WordFilter(), prefixes), planted.HOOK, tuple(known), ((1,),) * prefixes, x)
    return World(readings, probe_of(readings), directions, mean, parent_of, on)


def _levels(on: Bools, prefixes: int, jitter: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """(word, prefix, feature) how strong features are, which varies with the word and with the prefix."""
    by_word, by_reading = (rng.standard_normal((len(on), n, on.shape[1])) for n in (1, prefixes))
    levels = (1 + jitter * by_word + jitter * by_reading) * on[:, None]
    return np.concatenate([levels, np.broadcast_to(np.eye(prefixes), (len(on), prefixes, prefixes))], axis=2)


def make_words(concepts: int, words: tuple[int, int, int], seed: int) -> tuple[list[Word], ConceptSet]:
    """Random words, drawn until every concept has as many of every split as it should."""
    rng, token, known = random.Random(seed), 0, []
    members: dict[str, frozenset[str]] = {}
    for concept in range(concepts):
        wanted, found = dict(zip(Split, words, strict=True)), set()
        while any(wanted.values()):
            token += 1
            word = Word(" " + "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=7)), token)
            if wanted[word.split]:
                wanted[word.split] -= 1
                known.append(word)
                found.add(word.text.strip())
        members[f"concept{concept}"] = frozenset(found)
    return known, ConceptSet("planted", "{word} is of {concept}", members)


def _parts(
    member: Bools, split: NDArray[np.int8], children: Sequence[tuple[int, ...]], rng: np.random.Generator
) -> list[Bools]:
    """Disjoint sets of a concept's words, with as many of every split as asked for."""
    free = {part: list(rng.permutation(np.flatnonzero(member & (split == part)))) for part in Split}
    found = []
    for sizes in children:
        on = np.zeros(len(member), dtype=bool)
        on[[free[part].pop() for part, size in zip(Split, sizes, strict=True) for _ in range(size)]] = True
        found.append(on)
    return found


def _unrelated(member: Bools, split: NDArray[np.int8], rng: np.random.Generator) -> Bools:
    """Two train words and three test words of every concept: as many as a child has of its one concept."""
    found: Bools = np.any([_parts(column, split, [(2, 0, 3)], rng)[0] for column in member.T], axis=0)
    return found


def rotation(d: int, seed: int) -> Tensor:
    noise = torch.randn(d, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    basis: Tensor = torch.linalg.qr(noise).Q.float()
    return basis


def probe_of(readings: Readings) -> Probe:
    rows = {split: np.repeat(readings.split == split, readings.x.shape[1]) for split in Split}
    member = np.repeat(readings.member, readings.x.shape[1], axis=0)
    return fit_probe(readings.x.flatten(0, 1), member, rows[Split.TRAIN], rows[Split.VALIDATION])


def study_of(on: World, sae: Any) -> Study:
    return make_study(planted.loaded(sae), on.readings, on.probe)


# SAEs


def jump_sae(w_enc: Tensor, b_enc: Tensor, w_dec: Tensor, b_dec: Tensor, threshold: Tensor) -> SimpleNamespace:
    sae = SimpleNamespace(W_enc=w_enc, b_enc=b_enc, W_dec=w_dec, b_dec=b_dec, threshold=threshold)

    def encode(x: Tensor) -> Tensor:
        before = x @ w_enc + b_enc
        return torch.where(before > threshold, before, torch.zeros_like(before))

    sae.encode = encode
    return sae


def absorbing(on: World, delta: float) -> SimpleNamespace:
    """A latent per feature. A child's writes `delta` of its parent too, and the parent's reads as much less."""
    w_enc, w_dec = on.directions.T.clone(), on.directions.clone()
    for child, parent in zip(on.children, on.parent_of, strict=True):
        w_enc[:, parent] -= delta * on.directions[child]
        w_dec[child] += delta * on.directions[parent]
    return jump_sae(w_enc, -on.mean @ w_enc, w_dec, on.mean, torch.full((len(w_dec),), THRESHOLD))


def linear_sae(on: World, w_dec: Tensor, threshold: Tensor | float = 0.0) -> SimpleNamespace:
    """Reads what it writes, around the mean, and shrinks until it reconstructs as well as it can."""
    mean = on.readings.x.mean((0, 1))
    centred = on.readings.x.flatten(0, 1) - mean
    before = centred @ w_dec.T
    written = torch.where(before > threshold, before, torch.zeros(())).clamp(min=0) @ w_dec
    scale = float((written * centred).sum() / written.square().sum().clamp(min=1e-9))
    sae = SimpleNamespace(W_dec=w_dec * scale, b_dec=mean)
    sae.encode = lambda x: torch.where((x - mean) @ w_dec.T > threshold, ((x - mean) @ w_dec.T).relu(), torch.zeros(()))
    return sae


def random_sae(on: World, width: int, l0: float | None = None, seed: int = 0) -> SimpleNamespace:
    """Never trained; with `l0` thresholds are such that as many latents are active per word."""
    noise = torch.randn(width, on.mean.shape[0], generator=torch.Generator().manual_seed(seed))
    w_dec = torch.nn.functional.normalize(noise, dim=1)
    if l0 is None:
        return linear_sae(on, w_dec)
    before = (on.readings.x.flatten(0, 1) - on.readings.x.mean((0, 1))) @ w_dec.T
    return linear_sae(on, w_dec, torch.quantile(before, 1 - l0 / width, dim=0).clamp(min=0))


# The same SAE in other words


def rescaled(sae: SimpleNamespace, factor: Tensor) -> SimpleNamespace:
    w_dec = sae.W_dec / factor[:, None]
    return jump_sae(sae.W_enc * factor, sae.b_enc * factor, w_dec, sae.b_dec, sae.threshold * factor)


def permuted(sae: SimpleNamespace, order: Tensor) -> SimpleNamespace:
    return jump_sae(sae.W_enc[:, order], sae.b_enc[order], sae.W_dec[order], sae.b_dec, sae.threshold[order])


def duplicated(sae: SimpleNamespace, latents: Sequence[int]) -> SimpleNamespace:
    """Some latents twice, each with half of the decoder's row."""
    order = torch.tensor([*range(len(sae.W_dec)), *latents])
    share = torch.ones(len(sae.W_dec))
    share[list(latents)] = 0.5
    twice = permuted(sae, order)
    return jump_sae(twice.W_enc, twice.b_enc, twice.W_dec * share[order, None], sae.b_dec, twice.threshold)


def with_dead(sae: SimpleNamespace, n: int) -> SimpleNamespace:
    """`n` latents appended that never fire, whose decoder rows are large."""
    d = len(sae.b_dec)
    return jump_sae(
        torch.cat([sae.W_enc, torch.zeros(d, n)], dim=1), torch.cat([sae.b_enc, -torch.ones(n)]),
        torch.cat([sae.W_dec, torch.full((n, d), 9.0)]), sae.b_dec, torch.cat([sae.threshold, torch.zeros(n)]),
    )  # fmt: skip


def rotated(sae: SimpleNamespace, turn: Tensor) -> SimpleNamespace:
    return jump_sae(turn.T @ sae.W_enc, sae.b_enc, sae.W_dec @ turn, sae.b_dec @ turn, sae.threshold)


def scaled(sae: SimpleNamespace, factor: float) -> SimpleNamespace:
    """For activations times `factor`."""
    return jump_sae(sae.W_enc, sae.b_enc * factor, sae.W_dec, sae.b_dec * factor, sae.threshold * factor)


def with_x(on: World, x: Tensor, probe: Probe | None = None) -> World:
    """Other activations at the same words, with their own probe if no other is given."""
    readings = replace(on.readings, x=x)
    return replace(on, readings=readings, probe=probe or probe_of(readings))


def reordered(on: World, order: NDArray[np.intp]) -> World:
    """The same words in another order."""
    words = tuple(on.readings.words[i] for i in order)
    return replace(on, readings=replace(on.readings, words=words, x=on.readings.x[order]), on=on.on[order])


# Scores


def scores_in(module: ModuleType) -> tuple[Score, ...]:
    """All public functions of a module that make an estimate of a study and detectors."""
    functions = [f for name, f in vars(module).items() if inspect.isfunction(f) and not name.startswith("_")]
    own = [f for f in functions if f.__module__ == module.__name__]
    return tuple(f for f in own if _types(f) == {"study": "Study", "detectors": "Detectors", "return": "Estimate"})


def _types(function: Callable[..., Any]) -> dict[str, str]:
    """Annotations as they are written."""
    return {name: getattr(kind, "__name__", str(kind)) for name, kind in function.__annotations__.items()}


FIRST_LETTER, ABSORPTION = scores_in(first_letter), scores_in(absorption)


def name_of(score: Any) -> str:
    """For pytest's ids."""
    return getattr(score, "__name__", str(score))


def outcomes(study: Study) -> dict[str, Outcome]:
    """Everything that the two families say of a study."""
    detectors = find_detectors(study)
    return {score.__name__: outcome(score, study, detectors) for score in (*FIRST_LETTER, *ABSORPTION)}


def outcome(score: Score, study: Study, detectors: Detectors) -> Outcome:
    try:
        found = score(study, detectors)
    except Unscored as unscored:
        return unscored.reason
    return found.value, found.ci_low, found.ci_high, found.controls["minimum_detectable_difference"]
