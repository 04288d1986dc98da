"""How well scores rank positives above negatives, for many sets at once, and in resamples of their texts."""

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from saebench.stats.statistics import seed_of


def auc(
    scores: Float[np.ndarray, "problem text"],
    positive: Bool[np.ndarray, "problem text"],
    counted: Bool[np.ndarray, "problem text"],
) -> Float[np.ndarray, " problem"]:
    """Share of pairs of a positive and a negative text that are in order; ties are half of one. NaN without such pairs."""
    return np.array([_auc(row[there], own[there]) for row, own, there in zip(scores, positive, counted, strict=True)])


def _auc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """By the ranks of positives (Mann & Whitney 1947)."""
    from scipy.stats import rankdata

    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return float("nan")
    return float((rankdata(scores)[positive].sum() - n * (n + 1) / 2) / (n * m))


def f1(
    probability: Float[np.ndarray, "problem text"],
    positive: Bool[np.ndarray, "problem text"],
    counted: Bool[np.ndarray, "problem text"],
) -> Float[np.ndarray, " problem"]:
    """F1 of both classes weighted by how many texts they have, as the package sae-probes takes it, at a half."""
    said = probability > 0.5
    total = np.zeros(len(probability))
    for own in (True, False):
        of_class = (positive == own) & counted
        hits = ((said == own) & of_class).sum(1)
        both = ((said == own) & counted).sum(1) + of_class.sum(1)
        total += of_class.sum(1) / counted.sum(1) * 2 * hits / np.maximum(both, 1)
    return total


def resampled_auc(
    scores: Float[np.ndarray, "set text"],
    positive: Bool[np.ndarray, "set text"],
    counted: Bool[np.ndarray, "set text"],
    *,
    purpose: str,
    resamples: int,
) -> Float[np.ndarray, "set resample"]:
    """The same on resamples of the texts of each set; of sets with the same texts the same ones are drawn."""
    rng = np.random.default_rng(seed_of(f"{purpose}.texts"))
    found = np.empty((len(scores), resamples))
    for i, (row, own, there) in enumerate(zip(scores, positive, counted, strict=True)):
        plus, minus = row[own & there], row[~own & there]
        above = (plus[:, None] > minus) + 0.5 * (plus[:, None] == minus)
        times = [rng.multinomial(len(side), np.full(len(side), 1 / len(side)), resamples) for side in (plus, minus)]
        found[i] = ((times[0] @ above) * times[1]).sum(1) / (len(plus) * len(minus))
    return found
