"""Which latents detect a concept: the main latent, k-sparse probes, and the split that the F1-jump rule finds.

Weights are fitted on train words, latents and the split are chosen on validation words, thresholds on both
(k-sparse probes and splits after Chanin et al. 2024, arXiv 2409.14507, who choose splits on test words).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from scipy.special import expit

from saebench.evidence.words.probes import best_thresholds
from saebench.evidence.words.vocabulary import Split
from saebench.stats.statistics import Bools, Floats, Ints

if TYPE_CHECKING:
    from scipy import sparse

    from saebench.evidence.words.study import Study

LARGEST = 10
"""Largest k of the k-sparse probes, and candidates for the main latent."""
JUMP = 0.03
"""A further latent belongs to the split if it raises F1 by more than this."""
SUPPORT = 3
"""Fewest train words of a concept on which a further latent must be active."""
LEAK = 0.25
"""Largest share of rows outside a concept at which a latent that detects it may be active."""
TIE = 1e-6
"""Weight of the cosine to the probe, which decides between latents that do equally well."""
RIDGE = 1e-2
"""Penalty of the k-sparse probes, times the number of rows: it keeps weights finite where classes are separable."""
STEPS = 8
"""Newton steps of each k-sparse probe."""


@dataclass(frozen=True, eq=False)
class Detectors:
    """What was chosen for each concept; nothing here has seen a test word."""

    order: Int[np.ndarray, "concept k"]
    """Latents in the order in which k-sparse probes take them; the first is the main latent."""
    threshold: Float[np.ndarray, " concept"]
    """Of the main latent: it says yes above it. Infinite where no latent is specific enough."""
    said: Bool[np.ndarray, "row concept k"]
    """What the k-sparse probe says; `k - 1` is the index, so that the first is the main latent."""
    validation_f1: Float[np.ndarray, "concept k"]
    split_count: Int[np.ndarray, " concept"]
    """Number of latents that the concept is split over."""

    @property
    def main(self) -> Int[np.ndarray, " concept"]:
        """(concept,)"""
        return self.order[:, 0]

    def split_latents(self, concept: int) -> Int[np.ndarray, " split"]:
        return self.order[concept, : self.split_count[concept]]

    def said_by_split(self) -> Bool[np.ndarray, "row concept"]:
        """(row, concept) what the k-sparse probe on the split latents says."""
        at = (self.split_count - 1)[None, :, None]
        found: Bools = np.take_along_axis(self.said, at, axis=2)[:, :, 0]
        return found


def find_detectors(
    study: Study, member: Bool[np.ndarray, "word concept"] | None = None, largest: int = LARGEST
) -> Detectors:
    """Choose detectors, up to `largest` latents, for a study's concepts or for another `member` (word, concept)."""
    member = (study.member if member is None else member)[study.word_of]
    train, validation = study.rows(Split.TRAIN), study.rows(Split.VALIDATION)
    known, once = train | validation, study.once
    specific = specific_latents(study.columns, member, known)
    f1 = latent_f1(study.columns, member, train)
    f1 = np.where(specific, f1, -1.0) + TIE * study.cosines
    main = main_latents(study.columns, member, train & once, validation, f1)
    found_main = specific[np.arange(len(main)), main]
    order, weights = k_sparse(study.columns, member, once & train, main, specific, largest)
    values = gathered(study.columns, order)
    said = np.empty((*member.shape, order.shape[1]), dtype=bool)
    found = np.empty((member.shape[1], order.shape[1]))
    main_threshold = np.full(member.shape[1], np.inf)
    for k in range(order.shape[1]):
        scores = values[:, :, 0] if k == 0 else (values[:, :, : k + 1] * weights[k].astype(np.float32)).sum(axis=2)
        fitted = known if k == 0 else known & once
        threshold = np.maximum(best_thresholds(scores[fitted], member[fitted])[1], 0.0)
        threshold = np.where(found_main, threshold, np.inf)
        main_threshold = threshold if k == 0 else main_threshold
        said[:, :, k] = scores > threshold
        found[:, k] = f1_of(said[validation, :, k], member[validation])
    return Detectors(order, main_threshold, said, found, split_counts(found))


def split_counts(f1: Float[np.ndarray, "concept k"]) -> Int[np.ndarray, " concept"]:
    """(concept,) number of latents in the split, from F1 (concept, k): as long as each raises F1 by the jump."""
    jumps = np.diff(f1, axis=1) > JUMP
    counts: Ints = 1 + np.cumprod(jumps, axis=1).sum(axis=1)
    return counts


def f1_of(
    said: Bool[np.ndarray, " row *concept"], member: Bool[np.ndarray, " row *concept"]
) -> Float[np.ndarray, "*concept"]:
    """F1 of each column of (row, concept); 0 where nothing was said rightly."""
    return np.asarray(2 * (said & member).sum(0) / np.maximum(said.sum(0) + member.sum(0), 1))


def specific_latents(
    columns: sparse.csc_array, member: Bool[np.ndarray, "row concept"], rows: Bool[np.ndarray, " row"]
) -> Bool[np.ndarray, "concept latent"]:
    """(concept, latent) where the latent is active at no more than a quarter of the rows outside the concept.

    A latent that is active wherever it is read detects nothing by being active, whatever a threshold makes of it: a
    random direction of a random SAE is such a one.
    """
    active = columns[rows]
    active.data = (active.data != 0).astype(np.float64)
    inside = active.T @ member[rows].astype(np.float64)
    outside = np.asarray(active.sum(axis=0)).ravel()[:, None] - inside
    found: Bools = (outside <= LEAK * (~member[rows]).sum(axis=0)).T
    return found


def main_latents(
    columns: sparse.csc_array,
    member: Bool[np.ndarray, "row concept"],
    fit: Bool[np.ndarray, " row"],
    validation: Bool[np.ndarray, " row"],
    f1: Float[np.ndarray, "concept latent"],
) -> Int[np.ndarray, " concept"]:
    """(concept,) the latent that detects it best on validation rows, of the ten with the largest f1 (concept, latent).

    Their thresholds are fitted on some rows. Of equals it is the one with the larger f1.
    """
    candidates = np.argsort(-f1, axis=1, kind="stable")[:, :LARGEST]
    values = gathered(columns, candidates)
    found = TIE * np.take_along_axis(f1, candidates, axis=1)
    for i in range(candidates.shape[1]):
        threshold = np.maximum(best_thresholds(values[fit, :, i], member[fit])[1], 0.0)
        found[:, i] += f1_of(values[validation, :, i] > threshold, member[validation])
    chosen: Ints = candidates[np.arange(len(candidates)), found.argmax(axis=1)]
    return chosen


def latent_f1(
    columns: sparse.csc_array, member: Bool[np.ndarray, "row concept"], rows: Bool[np.ndarray, " row"]
) -> Float[np.ndarray, "concept latent"]:
    """(concept, latent) best F1 of each latent at any threshold above zero, on some of the rows."""
    kept = rows[columns.indices] & (columns.data > 0)
    latent = np.repeat(np.arange(columns.shape[1]), np.diff(columns.indptr))[kept]
    row, value = columns.indices[kept], columns.data[kept]
    order = np.lexsort((-value, latent))
    latent, row, value = latent[order], row[order], value[order]
    starts = np.flatnonzero(np.diff(latent, prepend=-1))
    rank = np.arange(len(latent)) - np.repeat(starts, np.diff(starts, append=len(latent))) + 1
    last = np.ones(len(latent), dtype=bool)
    last[:-1] = (value[:-1] != value[1:]) | (latent[:-1] != latent[1:])
    best = np.zeros((member.shape[1], columns.shape[1]))
    for concept, of_concept in enumerate(member.T):
        total = np.concatenate([[0], np.cumsum(of_concept[row])])
        hits = total[1:] - np.repeat(total[starts], np.diff(starts, append=len(latent)))
        f1 = np.where(last, 2 * hits / (rank + of_concept[rows].sum()), 0.0)
        if len(starts):
            best[concept, latent[starts]] = np.maximum.reduceat(f1, starts)
    return best


def gathered(columns: sparse.csc_array, latents: Int[np.ndarray, "concept k"]) -> Float[np.ndarray, "row concept k"]:
    """Dense values (row, concept, k) of some latents (concept, k)."""
    wanted, where = np.unique(latents, return_inverse=True)
    dense: NDArray[np.float32] = columns[:, wanted].toarray()
    return dense[:, where.reshape(latents.shape)]


def k_sparse(
    columns: sparse.csc_array,
    member: Bool[np.ndarray, "row concept"],
    rows: Bool[np.ndarray, " row"],
    main: Int[np.ndarray, " concept"],
    specific: Bool[np.ndarray, "concept latent"],
    largest: int,
) -> tuple[Int[np.ndarray, "concept k"], list[Float[np.ndarray, "concept _"]]]:
    """Latents (concept, k) by forward selection, starting from the main latent, and weights (concept, k) per k.

    Each further latent is the one whose activation is most correlated with what the logistic probe so far gets
    wrong, as in orthogonal matching pursuit; this depends neither on the scale nor on the order of latents.
    """
    part = columns[rows]
    length = np.sqrt(part.multiply(part).sum(axis=0))
    supported = ((part != 0).astype(np.float64).T @ member[rows] >= SUPPORT) & specific.T
    labels = member[rows].astype(np.float64)
    share = labels.mean(0).clip(1e-9, 1 - 1e-9)
    balance = labels / (2 * share) + (1 - labels) / (2 * (1 - share))
    order, weights = main[:, None], []
    theta = np.zeros((len(main), 2))
    while True:
        values, scale = _scaled(part, order)
        theta, wrong = _newton(values, labels, balance, theta)
        weights.append(theta[:, 1:] / scale)
        if order.shape[1] == min(largest, columns.shape[1]):
            return order, weights
        gain = part.T @ (wrong * balance) / np.maximum(length, 1e-30)[:, None]
        gain[~supported] = -np.inf
        gain[order.T, np.arange(len(main))] = -np.inf
        following = np.where(np.isfinite(gain.max(axis=0)), gain.argmax(axis=0), main)  # none is left: add nothing
        order = np.concatenate([order, following[:, None]], axis=1)
        theta = np.concatenate([theta, np.zeros((len(main), 1))], axis=1)


def _scaled(part: sparse.csc_array, latents: Ints) -> tuple[Floats, Floats]:
    """(concept, row, k) latents over their root mean square, and that (concept, k)."""
    dense = np.moveaxis(gathered(part, latents), 1, 0).astype(np.float64)
    scale = np.sqrt(np.square(dense).mean(axis=1)).clip(1e-12)
    return dense / scale[:, None, :], scale


def _newton(values: Floats, labels: Floats, balance: Floats, start: Floats) -> tuple[Floats, Floats]:
    """Coefficients (concept, 1 + k), bias first, of balanced logistic fits, and what is left of labels (row, concept)."""
    design = np.concatenate([np.ones((*values.shape[:2], 1)), values], axis=2)
    weight, target = balance.T[:, :, None], labels.T[:, :, None]
    theta, penalty = start[:, :, None], RIDGE * len(labels)
    for _ in range(STEPS):
        p = expit(design @ theta)
        gradient = np.swapaxes(design, 1, 2) @ (weight * (p - target)) + penalty * theta
        curvature = np.swapaxes(design, 1, 2) @ (design * (weight * p * (1 - p)))
        theta = theta - np.linalg.solve(curvature + penalty * np.eye(design.shape[2]), gradient)
    return theta[:, :, 0], (target - expit(design @ theta))[:, :, 0].T
