"""What latents do to the model's spelling: edits of the activation at a word, by removing latents or along the probe.

After Chanin et al. 2024 (arXiv 2409.14507). The SAE's error is kept: only what the named latents write is removed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from saebench.evidence.words import published
from saebench.evidence.words.detectors import Detectors
from saebench.evidence.words.projected import carrier_columns, project, project_each
from saebench.evidence.words.vocabulary import EDITED, in_turn
from saebench.metrics.absorption import judged
from saebench.metrics.first_letter import readable
from saebench.record.score import Estimate, Unscored
from saebench.stats.statistics import Floats, Ints, honest_rate
from saebench.stats.two_way import over_concepts

if TYPE_CHECKING:
    from torch import Tensor

    from saebench.evidence.words.published import Projections
    from saebench.evidence.words.study import Study

ACCURACY = 0.5
"""Least share of the test words asked for, up to ten per concept, that the model must spell rightly."""
MATTERS = 1.0
"""Least mean fall of the margin, in nats of logit, when the words are erased at the hook: else it is too late."""
INTEGRATION_STEPS = 6
"""Points along the way at which gradients are averaged (integrated gradients, Sundararajan et al. 2017)."""
LEAD = 1.0
"""By how much, in logits, an absorbing latent's effect must exceed the next one's."""


@runtime_checkable
class Spelling(Protocol):
    """How a model spells: a `saebench.evidence.words.speller.Speller`, or a planted one in a test."""

    @property
    def margin(self) -> Float[Tensor, " word"]: ...
    @property
    def erased(self) -> Float[Tensor, " word"]: ...
    @property
    def moved(self) -> Float[Tensor, " word"]: ...
    @property
    def right(self) -> Bool[np.ndarray, " word"]: ...
    def row(self, words: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]: ...
    def margins(self, words: Int[np.ndarray, " n"], x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]: ...
    def gradients(self, words: Int[np.ndarray, " n"], x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]: ...


def check_spelling(speller: Spelling, study: Study) -> None:
    """Raise Unscored where the model cannot spell, or where the hook lies after the letter has moved on."""
    words, _ = _sampled(study, {concept: np.flatnonzero(study.test & of) for concept, of in enumerate(study.member.T)})
    accuracy = float(speller.right[words].mean())
    if accuracy < ACCURACY:
        raise Unscored(f"the model spells {accuracy:.0%} of the test words asked for, less than {ACCURACY:.0%}")
    fall = float((speller.margin - speller.erased)[words].mean())
    if fall < MATTERS:
        raise Unscored(f"erasing the words at this hook lowers the margin by {fall:.2f} only: spelling is elsewhere")


def ablation_share(study: Study, detectors: Detectors, speller: Spelling) -> Estimate:
    """Share of the spelling margin that goes when the split latents are removed, of all that erasing the word takes.

    0 = the model spells as well without them; 1 = they hold all that it spells with. The control `probe` is the same
    for moving the activation along the probe to where words of other concepts lie on average. Up to ten correctly
    spelled test words per concept.
    """
    check_spelling(speller, study)
    spelled = {
        concept: np.flatnonzero(study.test & study.member[:, concept] & speller.right)
        for concept in np.flatnonzero(readable(study)).tolist()
    }
    words, owner = _sampled(study, spelled)
    written = removed(study, speller.row(words), [detectors.split_latents(concept) for concept in owner.tolist()])
    falls = {
        "latents": speller.margin[words] - speller.margins(words, study.x[speller.row(words)] - written),
        "probe": (speller.margin - speller.moved)[words],
        "erased": (speller.margin - speller.erased)[words],
    }
    sums = {name: _table(study, words, owner, values, list(spelled)) for name, values in falls.items()}
    names = [study.concepts[concept] for concept in spelled]
    estimate = over_concepts(
        {name: sums[name] for name in ("latents", "erased")}, lambda s: s["latents"] / s["erased"],
        purpose="first_letter.ablation_share", concepts=names, span=(0.0, 1.0),
    )  # fmt: skip
    with np.errstate(divide="ignore", invalid="ignore"):
        probe = float(np.nanmean(sums["probe"].sum(axis=0) / sums["erased"].sum(axis=0)))
    return replace(estimate, controls={**estimate.controls, "probe": probe})


def causal_rate(study: Study, detectors: Detectors, speller: Spelling) -> Estimate:
    """Share of the words that the probe gets right which are absorbed by effect, as first defined.

    All split latents are silent, and the latent with the largest integrated-gradients effect on the margin (6 steps,
    zero baseline, error kept) leads the next by 1.0 and has a cosine of at least .025 with the probe. Up to ten silent
    words per concept are looked at, and stand for the others. The items hold, for each, the latent that holds most of
    the probe's direction, and the exact effect of removing it, whole and without what it writes along the probe.
    """
    check_spelling(speller, study)
    concepts = np.flatnonzero(judged(study, detectors)).tolist()
    right, silent = {}, {}
    for concept in concepts:
        test = np.flatnonzero(study.test & study.member[:, concept])
        right[concept] = test[study.probe.says(study.x[speller.row(test)])[:, concept]]
        silent[concept] = right[concept][project(study, detectors, concept, speller.row(right[concept])).silent]
    words, owner = _sampled(study, silent)
    table = _effects(study, detectors, speller, words, owner)
    weight = np.array([len(silent[concept]) / (owner == concept).sum() for concept in owner])
    every = np.concatenate([right[concept] for concept in concepts])
    whose = np.repeat(concepts, [len(right[concept]) for concept in concepts])
    sums = {
        "absorbed": _table(study, words, owner, weight * table.pop("absorbed").astype(np.float64), concepts),
        "right": _table(study, every, whose, np.ones(len(every)), concepts),
    }
    estimate = over_concepts(
        sums, lambda s: np.minimum(s["absorbed"] / s["right"], 1.0), purpose="absorption.causal_rate",
        concepts=[study.concepts[concept] for concept in concepts],
    )  # fmt: skip
    return replace(honest_rate(estimate, len(every)), items={**estimate.items, **table})


def removed(
    study: Study, rows: Int[np.ndarray, " row"], latents: list[Int[np.ndarray, " _"]]
) -> Float[Tensor, "row d"]:
    """(row, d) what some latents of each row write; -1 names none."""
    import torch

    chosen = study.latents[rows].copy()
    owner = np.repeat(np.arange(len(rows)), np.diff(chosen.indptr))
    d_sae = study.latents.shape[1]
    named = np.concatenate(latents)
    wanted = np.repeat(np.arange(len(rows)), [len(some) for some in latents]) * d_sae + named
    kept = np.isin(owner * d_sae + chosen.indices, wanted[named >= 0])
    chosen.data = np.where(kept, chosen.data, 0.0).astype(np.float32)
    chosen.eliminate_zeros()
    used, where = np.unique(chosen.indices, return_inverse=True)
    dense = torch.zeros(len(rows), max(len(used), 1))
    dense[torch.from_numpy(np.repeat(np.arange(len(rows)), np.diff(chosen.indptr))), torch.from_numpy(where)] = (
        torch.from_numpy(chosen.data)
    )
    return dense[:, : len(used)] @ study.decoder[torch.from_numpy(used.astype(np.int64))]


def _effects(
    study: Study, detectors: Detectors, speller: Spelling, words: Ints, owner: Ints
) -> dict[str, NDArray[np.generic]]:
    """Per silent word: whether it is absorbed by effect, and its carrier with the exact effect of removing it."""
    rows, direction = speller.row(words), study.probe.direction[owner]
    own = project_each(study, detectors, owner, rows)
    x, carrier = study.x[rows], own.at_top(own.latent)
    written = removed(study, rows, [np.array([latent]) for latent in carrier])
    across = written - (written * direction).sum(dim=1, keepdim=True) * direction
    base = speller.margins(words, x)
    return {
        **carrier_columns(study, detectors, owner, rows, own),
        "absorbed": _by_effect(study, speller, own, words),
        "carrier_effect": (base - speller.margins(words, x - written)).double().numpy(),
        "carrier_effect_across": (base - speller.margins(words, x - across)).double().numpy(),
    }  # fmt: skip


def _by_effect(study: Study, speller: Spelling, own: Projections, words: Ints) -> NDArray[np.bool_]:
    """(word,) whether the leading latent by integrated gradients leads clearly and is aligned with the probe."""
    import torch

    rows = speller.row(words)
    x, written = study.x[rows], removed(study, rows, list(own.latent))
    total = torch.zeros_like(x)
    for step in range(INTEGRATION_STEPS):
        total += speller.gradients(words, x - (1 - step / INTEGRATION_STEPS) * written)
    decoder = study.decoder[torch.from_numpy(own.latent.clip(min=0))]
    slope = torch.einsum("rkd,rd->rk", decoder, total / INTEGRATION_STEPS).numpy()
    effect = np.where(own.latent >= 0, own.activation * slope, 0.0)
    ranked = -np.sort(-np.pad(effect, ((0, 0), (0, 1))), axis=1)
    cosine = np.take_along_axis(own.cosine, effect.argmax(axis=1)[:, None], axis=1)[:, 0]
    found: NDArray[np.bool_] = (ranked[:, 0] - ranked[:, 1] >= LEAD) & (cosine >= published.FULL_COSINE)
    return found


def _sampled(study: Study, words: dict[int, Ints]) -> tuple[Ints, Ints]:
    """Up to ten words of each concept, by a hash of the word, and the concept of each."""
    chosen = {concept: in_turn(study.words, of_concept)[:EDITED].tolist() for concept, of_concept in words.items()}
    pairs = [(word, concept) for concept, of_concept in chosen.items() for word in of_concept]
    if not pairs:
        raise Unscored("no test word is left to edit: the probe gets none right on which all split latents are silent")
    found = np.array(pairs, dtype=np.intp)
    return found[:, 0], found[:, 1]


def _table(study: Study, words: Ints, owner: Ints, values: object, concepts: list[int]) -> Floats:
    """(test word, concept) values of some words, 0 elsewhere."""
    whole = np.zeros((len(study.words), len(study.concepts)))
    np.add.at(whole, (words, owner), np.asarray(values, dtype=np.float64))
    table: Floats = whole[study.test][:, concepts]
    return table
