"""Does the SAE still work at positions that its training never showed it?

After Anders and Bloom 2024, who found residual SAEs of GPT-2 small to degrade beyond their training context.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from saebench.metrics.reconstruction import cosines, fvu, loss_recovered
from saebench.record.score import Estimate, Unscored
from saebench.stats.statistics import CONFIDENCE, RESAMPLES, Floats, ratio_of_sums, times_drawn

if TYPE_CHECKING:
    from torch import Tensor

    from saebench.evidence.trace import Rebuilt, Trace

BIN = 16
"""Positions per bin of the curve."""
BREAK = 1.5
"""The SAE breaks in the first bin whose mean KL exceeds this many times the mean inside."""
FEWEST_WHOLE = 8
"""Documents as long as the context: the curve over positions is theirs alone."""
COMPETENT = 0.5
"""Loss recovered, against mean ablation, and variance explained inside: with less there is nothing to retain."""


def check_evaluable(trace: Rebuilt) -> None:
    """Raise Unscored where the question has no answer.

    That is where no position lies beyond the training context, or where that is unknown; and where the SAE does not
    work inside it: a useless SAE is as useless further on, and would seem to lose nothing.
    """
    positions = trace.error.shape[1]
    if not trace.context_known:
        raise Unscored("the context that the SAE was trained on is unknown; name it as context_size")
    if trace.inside >= positions:
        raise Unscored(f"the model was run on {positions + 1} positions, and the SAE was trained on no fewer")
    if (whole := int(trace.counted.all(dim=1).sum())) < FEWEST_WHOLE:
        raise Unscored(f"{whole} documents of {len(trace.counted)} are as long as {positions + 1} tokens: too few")
    unexplained = fvu(trace)
    if unexplained.ci_high > 1 - COMPETENT:
        raise Unscored(
            f"inside its training context the SAE has an FVU of {unexplained.value:.2f}, above {1 - COMPETENT}"
        )
    if not hasattr(trace, "ce"):  # there is no model whose loss could be recovered
        return
    recovered = loss_recovered(cast("Trace", trace), "mean")
    if recovered.ci_low < COMPETENT:
        share = f"{recovered.value:.2f} [{recovered.ci_low:.2f}, {recovered.ci_high:.2f}]"
        raise Unscored(f"inside its training context the SAE recovers {share} of the loss, less than {COMPETENT}")


def kl_retention(trace: Trace) -> Estimate:
    """Mean KL inside the training context / mean KL beyond it: 1 = no loss, below 1 = worse beyond.

    The items hold the whole curve over positions; the controls say what the clean model does meanwhile.
    """
    check_evaluable(trace)
    estimate = _retention(trace, trace.kl, "context_length.kl_retention")
    (kl_inside, kl_beyond), (ce_inside, ce_beyond) = _sides(trace, trace.kl), _sides(trace, trace.clean_ce)
    controls = {
        "kl_inside": kl_inside.mean(), "kl_beyond": kl_beyond.mean(),
        "clean_ce_inside": ce_inside.mean(), "clean_ce_beyond": ce_beyond.mean(),
    }  # fmt: skip
    items = {**estimate.items, **curves(trace), "context_size": np.array([trace.inside])}
    return replace(estimate, items=items, controls={name: float(value) for name, value in controls.items()})


def fvu_retention(trace: Rebuilt) -> Estimate:
    """Mean squared error inside / beyond, which is the ratio of FVUs over the same variance, that of the inside."""
    check_evaluable(trace)
    return _retention(trace, trace.error, "context_length.fvu_retention")


def kl_inside(trace: Trace) -> Estimate:
    """Mean KL(clean || spliced) in nats inside the training context."""
    check_evaluable(trace)
    return _mean(_sides(trace, trace.kl)[0], "context_length.kl_inside")


def kl_beyond(trace: Trace) -> Estimate:
    """Mean KL(clean || spliced) in nats beyond the training context."""
    check_evaluable(trace)
    return _mean(_sides(trace, trace.kl)[1], "context_length.kl_beyond")


def break_point(trace: Trace) -> Estimate:
    """First position, to a bin, beyond the training context at which mean KL exceeds 1.5 times the mean inside.

    If it never does, the value is the length of the model's context: the break lies there or further on.
    """
    check_evaluable(trace)
    edges, inside = _edges(trace)
    kl = _binned(trace, trace.kl, edges)
    starts = np.array([*edges[inside:-1], edges[-1] + 1], dtype=np.float64)
    threshold = BREAK * _sides(trace, trace.kl)[0]
    weights = times_drawn(len(kl), "context_length.break_point", RESAMPLES)[1:] / len(kl)
    low, high = np.quantile(
        starts[_first_above(weights @ kl[:, inside:], weights @ threshold)],
        [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2],
    )
    value = starts[_first_above(kl[:, inside:].mean(0, keepdims=True), threshold.mean(keepdims=True))][0]
    return Estimate(float(value), float(low), float(high), len(kl), "document", ceiling=float(starts[-1]))


def curves(trace: Trace) -> dict[str, Float[np.ndarray, " bin"]]:
    """Mean over documents in bins of positions: KL with its pointwise interval, CE, FVU, L0, cosine."""
    edges, _ = _edges(trace)
    quantities = {
        "ce_increase": trace.ce - trace.clean_ce, "clean_ce": trace.clean_ce, "l0": trace.l0, "cosine": cosines(trace),
        "fvu": trace.error / trace.signal[:, 1 : trace.inside].mean(),
    }  # fmt: skip
    kl = _binned(trace, trace.kl, edges)
    half = 1.96 * kl.std(0, ddof=1) / np.sqrt(len(kl))
    centres = np.array([(low + high - 1) / 2 for low, high in pairwise(edges)])
    means = {name: _binned(trace, values, edges).mean(0) for name, values in quantities.items()}
    return {"position": centres, "kl": kl.mean(0), "kl_low": kl.mean(0) - half, "kl_high": kl.mean(0) + half, **means}


def _edges(trace: Trace) -> tuple[list[int], int]:
    """Edges of the bins, one of which is the end of the training context, and the number of bins inside it."""
    inside = sorted({1, *range(trace.inside, 1, -BIN)})
    positions = trace.kl.shape[1]
    return [*inside, *range(trace.inside + BIN, positions, BIN), positions], len(inside) - 1


def _whole(trace: Rebuilt, values: Tensor) -> Tensor:
    """Those of documents that are as long as the context; others would be in some positions' means only."""
    return values[trace.counted.all(dim=1)]


def _binned(trace: Trace, values: Tensor, edges: list[int]) -> Floats:
    """Per-document means (document, bin)."""
    values = _whole(trace, values)
    return np.stack([values[:, low:high].double().mean(1).numpy() for low, high in pairwise(edges)], axis=1)


def _sides(trace: Rebuilt, values: Tensor) -> tuple[Floats, Floats]:
    """Per-document means inside and beyond the training context."""
    values = _whole(trace, values)
    inside, beyond = values[:, 1 : trace.inside], values[:, trace.inside :]
    return inside.double().mean(1).numpy(), beyond.double().mean(1).numpy()


def _first_above(curves: Floats, threshold: Floats) -> NDArray[np.intp]:
    """Index of the first bin of each curve (curve, bin) above its threshold; past the end if none is."""
    above = curves > threshold[:, None]
    first: NDArray[np.intp] = np.where(above.any(1), above.argmax(1), above.shape[1])
    return first


def _retention(trace: Rebuilt, values: Tensor, purpose: str) -> Estimate:
    inside, beyond = _sides(trace, values)
    return ratio_of_sums(inside, beyond, purpose=purpose)


def _mean(values: Floats, purpose: str) -> Estimate:
    return ratio_of_sums(values, np.ones_like(values), purpose=purpose)
