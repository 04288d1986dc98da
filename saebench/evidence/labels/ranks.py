"""How well scores rank positives above negatives, for many sets at once, and in resamples of their texts."""

import numpy as np
from jaxtyping import Bool, Float

from saebench.stats.statistics import seed_of


def auc(
    scores: Float[np.ndarray, "problem text"],
    positive: Bool[np.ndarray, "problem text"],
    counted: Bool[np.ndarray, "problem text"],
) -> Float[np.ndarray, " problem"]:
    """Share of pairs of a positive and a negative text that are in order; ties are half of one. NaN without such pairs.

    By the ranks of positives (Mann & Whitney 1947); what does not count is ranked last, behind all that does.
    """
    from scipy.stats import rankdata

    n, m = ((counted & side).sum(1) for side in (positive, ~positive))
    ranks = rankdata(np.where(counted, scores, np.inf), axis=1)
    above = np.where(counted & positive, ranks, 0.0).sum(1) - n * (n + 1) / 2
    found: Float[np.ndarray, " problem"] = np.where(n * m > 0, above / np.maximum(n * m, 1), np.nan)
    return found


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
