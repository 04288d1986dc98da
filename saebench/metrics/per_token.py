"""What SAEBench's `core` says of activations and reconstructions token by token, not centred, in definitions that hold.

None of it is ranked: a constant reconstruction, which knows nothing of the activation, has a high cosine, the right norm
and no bias, since activations have a large mean in common. `reconstruction.fvu`, `.cosine` and `.shrinkage` are centred.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from jaxtyping import Float

from saebench.metrics.reconstruction import per_document, tokens_per_document
from saebench.record.score import Estimate, Unscored
from saebench.stats.statistics import bootstrap, ratio_of_sums

if TYPE_CHECKING:
    from torch import Tensor

    from saebench.evidence.trace import Rebuilt


def explained_by_token(trace: Rebuilt) -> Estimate:
    """1 - ||x - y||^2 / ||x - mean(x)||^2 of each token, mean over tokens; 0 for the mean, 1 for the identity.

    Tokens near the mean count most, however small their error is, so that it may lie far below 0. It is what SAEBench
    (arXiv 2503.09532) published as explained variance (`explained_variance_legacy`); `reconstruction.fvu` is of pooled sums.
    """
    spread = trace.signal > 0
    explained = (1 - trace.error / trace.signal).where(spread, trace.error.new_zeros(()))
    return _per_token(explained, spread * trace.counted, trace, "reconstruction.explained_by_token")


def mse(trace: Rebuilt) -> Estimate:
    """Mean of ||x - y||^2 over tokens, summed over dimensions; the floor is that of the mean activation, the variance.

    In squared units of the model's activations, so that it compares SAEs of one place alone. SAEBench 0.6.0 (`mse`) divides
    it by the number of tokens in a batch once more, which makes it smaller for larger batches; this one does not depend on them.
    """
    tokens = tokens_per_document(trace)
    estimate = ratio_of_sums(per_document(trace.error, trace.inside), tokens, purpose="reconstruction.mse")
    return replace(estimate, floor=float(per_document(trace.signal, trace.inside).sum() / tokens.sum()))


def token_cosine(trace: Rebuilt) -> Estimate:
    """Cosine of activation and reconstruction at each token, not centred, mean over tokens; 0 where either is zero.

    The floor is that of the mean activation as a constant reconstruction, which is high wherever activations have a mean in
    common: `reconstruction.cosine` is centred, and 0 there. SAEBench's `cossim` (arXiv 2503.09532).
    """
    norms = trace.norm_in * trace.norm_out
    cosine = (trace.inner / norms).where(norms > 0, norms.new_zeros(()))
    estimate = _per_token(cosine, trace.counted, trace, "reconstruction.token_cosine")
    floor = per_document(trace.mean_cosine, trace.inside).sum() / tokens_per_document(trace).sum()
    return replace(estimate, floor=float(floor))


def l2_ratio(trace: Rebuilt) -> Estimate:
    """||y|| / ||x|| at each token, not centred, mean over tokens: below 1 where reconstructions are too short.

    It says nothing of direction, and 1 is reached by a constant as well. The controls are the mean norms of activations and
    of reconstructions. SAEBench's `l2_ratio` (arXiv 2503.09532); tokens with a norm of 0 are left out.
    """
    there = trace.norm_in > 0
    ratio = (trace.norm_out / trace.norm_in).where(there, trace.norm_in.new_zeros(()))
    estimate = _per_token(ratio, there * trace.counted, trace, "reconstruction.l2_ratio")
    total = tokens_per_document(trace).sum()
    sums = {"norm_in": trace.norm_in, "norm_out": trace.norm_out}
    controls = {name: float(per_document(norm, trace.inside).sum() / total) for name, norm in sums.items()}
    return replace(estimate, controls={**estimate.controls, **controls})


def relative_bias(trace: Rebuilt) -> Estimate:
    """E||y||^2 / E<x, y>, from pooled sums that are not centred: 1 where no scaling of y would make the error smaller.

    The relative reconstruction bias of Rajamanoharan et al. 2024 (arXiv 2404.16014, equation 10), which is 1 for the mean
    as a constant reconstruction too: `reconstruction.shrinkage` is the same of centred activations. SAEBench averages it
    over batches; this one does not depend on them.
    """
    sums = {
        "output": per_document(trace.norm_out.square(), trace.inside), "inner": per_document(trace.inner, trace.inside),
    }  # fmt: skip
    if sums["inner"].sum() <= 1e-6 * per_document(trace.norm_in.square(), trace.inside).sum():
        raise Unscored("reconstructions do not point where activations do, so there is no scale to speak of")
    return bootstrap(sums, lambda s: s["output"] / s["inner"], purpose="reconstruction.relative_bias")


def _per_token(
    values: Float[Tensor, "document position"],
    counted: Float[Tensor, "document position"],
    trace: Rebuilt,
    purpose: str,
) -> Estimate:
    """Mean of values over the tokens that count, with an interval over documents."""
    counts = per_document(counted.double(), trace.inside)
    return ratio_of_sums(per_document(values * counted, trace.inside), counts, purpose=purpose)
