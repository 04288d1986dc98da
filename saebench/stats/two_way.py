"""Means over concepts of what their words say, and over features of what their prompts do: both could have been others."""

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from saebench.record.score import Estimate, Unscored
from saebench.stats.statistics import (
    CONFIDENCE,
    DETECTABLE,
    MDD,
    RESAMPLES,
    Floats,
    never_certain,
    repetition,
    seed_of,
    times_drawn,
    wider,
)

WORD_BATCH = 100


def over_concepts(
    sums: Mapping[str, Floats],
    statistic: Callable[[dict[str, Floats]], Floats],
    *,
    purpose: str,
    concepts: list[str],
    span: tuple[float, float] | None = None,
) -> Estimate:
    """Mean over concepts of a statistic of sums over words, with an interval for both having been others.

    `sums` holds a value per (word, concept) under each name; `statistic` maps their totals (..., concept) to values
    (..., concept), NaN where a concept has none. Words and concepts are drawn anew together, 2,000 times; the interval
    is that of percentiles, as `two_way` scales them. The minimum detectable difference, with 80% power, is between two
    SAEs that are measured independently. `span` is from where to where a concept that was not seen may lie, which is what
    the interval is about where all that were seen are equal; without one, `honest_rate` is to follow. Raises Unscored where fewer than two concepts have a value.
    """
    each, means = _resampled(sums, statistic, purpose)
    found = np.isfinite(each)
    value, means = float(means[0]), means[1:][np.isfinite(means[1:])]
    low, high = (float(end) for end in np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]))
    estimate = Estimate(
        value, min(low, value), max(high, value), int(found.sum()), "concept",
        items={"item": np.array(concepts)[found], "contribution": each[found]},
        controls={MDD: DETECTABLE * float(means.std())},
    )  # fmt: skip
    return estimate if span is None else never_certain(estimate, *span)


def resampled_concepts(
    sums: Mapping[str, Floats], statistic: Callable[[dict[str, Floats]], Floats], purpose: str
) -> Floats:
    """(1 + resample,) the mean over concepts that `over_concepts` is of; the first is that of the sample.

    Two sets of sums over the same words are drawn alike, so that their difference can be taken.
    """
    return _resampled(sums, statistic, purpose)[1]


def _resampled(
    sums: Mapping[str, Floats], statistic: Callable[[dict[str, Floats]], Floats], purpose: str
) -> tuple[Floats, Floats]:
    """(concept,) values of the sample, and (1 + resample,) their means with words and concepts drawn anew."""
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in sums.items()}
    with np.errstate(divide="ignore", invalid="ignore"):
        each = statistic({name: values.sum(axis=0) for name, values in arrays.items()})
    found = np.isfinite(each)
    if found.sum() < 2:
        raise Unscored(f"{purpose} is defined for {found.sum()} of {len(each)} concepts, and an interval needs two")
    drawn = np.concatenate([each[None], _redrawn(arrays, statistic)])[:, found]
    counts = times_drawn(drawn.shape[1], f"concepts of {purpose}", RESAMPLES)
    return each, two_way(pigeonhole(drawn, counts), drawn, counts, len(next(iter(arrays.values()))))


def pigeonhole(drawn: Floats, counts: Floats) -> Floats:
    """(1 + resample,) means over columns that are drawn `counts` (1 + resample, column) times; the first is the sample's.

    `drawn` (1 + resample, column) has their values with rows drawn anew, NaN where there is none.
    """
    weight = np.where(np.isfinite(drawn), counts, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((np.where(weight > 0, drawn, 0.0) * weight).sum(1) / weight.sum(1))


def two_way(both: Floats, drawn: Floats, counts: Floats, rows: int) -> Floats:
    """Resamples `both` of the pigeonhole bootstrap, scaled to the variance that they should have.

    Drawing rows and columns anew counts twice what is neither's own (Owen 2007, arXiv 0712.1111). The variance is that
    of rows plus that of columns less that of both, each as large as Student's t makes it for so few.
    """
    by_row = pigeonhole(drawn, np.ones_like(counts))
    by_column = pigeonhole(np.broadcast_to(drawn[0], drawn.shape), counts)
    of_both, of_rows, of_columns = (_variance(found[1:]) for found in (both, by_row, by_column))
    if not of_both > 0:
        return both
    rows_own, columns_own = of_rows * wider(rows) ** 2, of_columns * wider(int(np.isfinite(drawn[0]).sum())) ** 2
    wanted = max(rows_own, columns_own, rows_own + columns_own - max(of_both - of_rows - of_columns, 0.0))
    # A ratio over few rows is biased in resamples as in the sample: only how they spread counts.
    scaled = both[0] + (both - np.nanmean(both[1:])) * (wanted / of_both) ** 0.5
    return np.concatenate([both[:1], scaled[1:]])


def _variance(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.var()) if len(finite) else 0.0


def _redrawn(sums: dict[str, Floats], statistic: Callable[[dict[str, Floats]], Floats]) -> Floats:
    """(resample, concept) statistics with words drawn anew."""
    counts = _word_counts(len(next(iter(sums.values()))), repetition())
    parts = []
    for start in range(0, RESAMPLES, WORD_BATCH):
        weights = counts[start : start + WORD_BATCH].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            parts.append(statistic({name: weights @ values for name, values in sums.items()}))
    return np.concatenate(parts)


@lru_cache(maxsize=4)
def _word_counts(words: int, repetition: int) -> NDArray[np.uint8]:
    """(resample, word) how often each word is drawn; the same draws serve all scores of the same words."""
    rng = np.random.default_rng(seed_of(f"{words} words"))
    chances = np.full(words, 1 / words)
    batches = [rng.multinomial(words, chances, size=WORD_BATCH) for _ in range(0, RESAMPLES, WORD_BATCH)]
    return np.concatenate([batch.clip(max=255).astype(np.uint8) for batch in batches])
