"""Does an SAE find the features, where they are known? On worlds whose every sample tells which features are on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy.typing import NDArray
from scipy import sparse

from saebench.record.score import Estimate, Unscored
from saebench.stats.statistics import Floats, never_certain, proportion, ratio_of_sums

if TYPE_CHECKING:
    from saebench.evidence.known import Known, Reading

FOUND = 0.9
"""Cosine from which on a latent's direction is a feature's."""
LIKE = 0.7
"""Cosine from which on a latent belongs to a feature or to a sum of two: that of a sum of two orthogonal ones with each."""
EXCEEDING = 0.25
"""Share of projections that are larger than the one that counts."""
CHUNKS = 64
"""Into which samples are put for an interval."""


def mcc(known: Known) -> Estimate:
    """Mean cosine of features with their latents, matched one to one; 0 = as random directions, 1 = all found.

    (m - r) / (1 - r), where r is that of as many random directions as the SAE has live latents. A feature for which no
    latent is left counts 0. The interval is over trees, and over features that stand alone.
    """
    own, random = (np.where(known.usable, side.cosine, 0.0) for side in (known.sae, known.random))
    return _of_features(known, own - random, known.usable - random, "known_truth.mcc")


def _of_features(
    known: Known, numerator: NDArray[np.generic], denominator: NDArray[np.generic], purpose: str
) -> Estimate:
    """Ratio of sums (feature,) over usable features, with its interval over what hangs together."""
    _, cluster = np.unique(known.truth.cluster[known.usable], return_inverse=True)
    sums = [summed(cluster, side[known.usable]) for side in (numerator, denominator)]
    return slim(ratio_of_sums(sums[0], sums[1], purpose=purpose, n_unit="tree"))


def slim(estimate: Estimate) -> Estimate:
    """With the items alone that two SAEs are compared by: worlds have thousands of features."""
    return replace(estimate, items={name: v for name, v in estimate.items.items() if name == "contribution"})


def summed(cluster: Int[np.ndarray, " item"], values: Shaped[np.ndarray, " item"]) -> Float[np.ndarray, " cluster"]:
    return np.asarray(np.bincount(cluster, weights=values.astype(np.float64)), dtype=np.float64)


def f1(known: Known, threshold: str, weight: str) -> Estimate:
    """F1 of features' latents as classifiers of "the feature is on"; the floor is that of random directions.

    `threshold` is "zero", where a latent says yes wherever it is active, or "best", above what is best on half of the
    samples, measured on the other half. `weight` is "even" over features, or "frequency".
    """
    return _classified(known, threshold, weight, "f1", lambda hits, said, is_on: _ratio(2 * hits, said + is_on))


def precision(known: Known, threshold: str, weight: str) -> Estimate:
    """Share of the samples on which a feature's latent says yes that have the feature; 0 where it never does."""
    return _classified(known, threshold, weight, "precision", lambda hits, said, is_on: _ratio(hits, said))


def recall(known: Known, threshold: str, weight: str) -> Estimate:
    """Share of the samples with a feature on which its latent says yes."""
    return _classified(known, threshold, weight, "recall", lambda hits, said, is_on: _ratio(hits, is_on))


def _classified(
    known: Known, threshold: str, weight: str, name: str, score: Callable[[Floats, Floats, Floats], Floats]
) -> Estimate:
    weights = np.asarray(known.on.sum(axis=0)) if weight == "frequency" else np.ones(len(known.usable))
    own, random = (score(*_counts(known, side, threshold)) for side in (known.sae, known.random))
    estimate = _of_features(known, weights * own, weights, f"known_truth.{name}")
    usable = weights * known.usable
    return never_certain(replace(estimate, floor=float((usable * random).sum() / usable.sum())), 0.0, 1.0)


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.where(denominator > 0, numerator / np.maximum(denominator, 1e-30), 0.0)


def _counts(known: Known, reading: Reading, threshold: str) -> tuple[Floats, Floats, Floats]:
    """(feature,) how often its latent says yes rightly, how often it says yes, and how often the feature is on."""
    own, on = reading.own, known.on
    if threshold == "best":
        tuned = np.arange(own.shape[0]) % 2 == 0
        own, on = _above(own[~tuned], _best_thresholds(own[tuned], on[tuned])), on[~tuned]
    said = sparse.csc_array((own != 0).astype(np.float64))
    return tuple(np.asarray(m.sum(axis=0), dtype=np.float64) for m in (said.multiply(on), said, on))  # type: ignore[return-value]


def _above(own: sparse.csc_array, thresholds: Floats) -> sparse.csc_array:
    entries = sparse.coo_array(own)
    kept = entries.data >= thresholds[entries.col]
    return sparse.csc_array((entries.data[kept], (entries.row[kept], entries.col[kept])), shape=own.shape)


def _best_thresholds(own: sparse.csc_array, on: sparse.csc_array) -> Float[np.ndarray, " feature"]:
    """(feature,) the activation from which on saying yes has the highest F1; without any, infinity."""
    entries = sparse.coo_array(own)
    order = np.lexsort((-entries.data, entries.col))
    row, column, value = entries.row[order], entries.col[order], entries.data[order]
    hit = np.asarray(sparse.csr_array(on)[row, column]).ravel().astype(np.float64)
    first = np.searchsorted(column, column)
    before = np.concatenate([[0.0], hit.cumsum()])
    hits, said = before[1:] - before[first], np.arange(len(column)) - first + 1.0
    scores = 2 * hits / (said + np.asarray(on.sum(axis=0)).ravel()[column])
    best = np.lexsort((-scores, column))
    found, at = np.unique(column[best], return_index=True)
    thresholds = np.full(own.shape[1], np.inf)
    thresholds[found] = value[best[at]]
    return thresholds


def coverage(known: Known) -> Estimate:
    """Share of features that some latent has a cosine of at least .9 with."""
    found = known.sae.cosines.max(axis=1) >= FOUND
    return never_certain(_of_features(known, found, known.usable, "known_truth.coverage"), 0.0, 1.0)


def uniqueness(known: Known) -> Estimate:
    """Share of live latents that are the only one with their feature; without a feature a latent counts as not unique.

    A latent's feature is the nearest, if it is nearer than all but a twentieth of random directions are to theirs.
    """
    best, near = known.sae.nearest
    has = near > np.quantile(known.random.nearest[1], 0.95)
    others = np.bincount(best[has], minlength=len(known.usable))
    return proportion(int((has & (others[best] == 1)).sum()), len(best), n_unit="latent")


def splitting(known: Known) -> Estimate:
    """Latents per feature, of the features that any latent belongs to with a cosine of at least .7; 1 = not split."""
    best, near = known.sae.nearest
    each = np.bincount(best[near >= LIKE], minlength=len(known.usable)).astype(np.float64)
    if (known.usable & (each > 0)).sum() < 2:
        raise Unscored(f"{int((each > 0).sum())} features have a latent with a cosine of at least {LIKE}")
    return _of_features(known, each, each > 0, "known_truth.splitting")


def l0_error(known: Known) -> Estimate:
    """ln(L0 / the number of features that are on): 0 = as many latents as features, above 0 = too many."""
    sums = [np.diff(sparse.csr_array(m).indptr).astype(np.float64) for m in (known.sae.latents, known.features)]
    ratio = ratio_of_sums(
        _chunked(sums[0]), _chunked(sums[1]), purpose="known_truth.l0_error", n_unit="chunk of samples"
    )
    ends = np.log([ratio.value, ratio.ci_low, ratio.ci_high]).tolist()
    return replace(ratio, value=ends[0], ci_low=ends[1], ci_high=ends[2], items={})


def decoder_projection(known: Known) -> Estimate:
    """The projection on decoder directions that a quarter of all exceed, over the activation's norm: no truth is needed.

    After Chanin and Garriga-Alonso (arXiv 2508.16560), who find it least, among SAEs of one architecture and width, where
    the L0 is the true one: a latent whose direction is mixed of several features lies along activations of each.
    """
    parts = known.x.tensor_split(min(CHUNKS, len(known.x)))
    each = [float(np.quantile((part @ known.sae.directions.T).numpy(), 1 - EXCEEDING)) for part in parts]
    sizes = np.array([float(part.norm(dim=1).mean()) for part in parts])
    return slim(
        ratio_of_sums(np.array(each), sizes, purpose="known_truth.decoder_projection", n_unit="chunk of samples")
    )


def _chunked(values: Floats) -> Floats:
    return np.array([part.sum() for part in np.array_split(values, min(CHUNKS, len(values)))])
