"""How much of the activation, and of the model's behaviour, survives the SAE, inside its training context."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from saebench.record.score import Estimate, Unscored
from saebench.stats.statistics import bootstrap, proportion, ratio_of_sums

if TYPE_CHECKING:
    from torch import Tensor

    from saebench.evidence.trace import Encoded, Rebuilt, Trace

DENSE = 0.1
"""A latent is dense if it is active on more than this share of tokens."""


def per_document(values: Float[Tensor, "document position"], inside: int) -> Float[np.ndarray, " document"]:
    """Sums over the training context of (document, position) values; BOS is left out."""
    return values[:, 1:inside].double().sum(1).numpy()


def tokens_per_document(trace: Rebuilt) -> Float[np.ndarray, " document"]:
    return per_document(trace.counted, trace.inside)


def fvu(trace: Rebuilt) -> Estimate:
    """Fraction of variance unexplained: sum ||x - y||^2 / sum ||x - mean(x)||^2, from pooled sums.

    0 for the identity, 1 for an SAE that always returns the mean.
    """
    numerator, denominator = (per_document(v, trace.inside) for v in (trace.error, trace.signal))
    return ratio_of_sums(numerator, denominator, purpose="reconstruction.fvu")


def l0(trace: Rebuilt) -> Estimate:
    """Mean number of latents that are not zero."""
    return ratio_of_sums(per_document(trace.l0, trace.inside), tokens_per_document(trace), purpose="reconstruction.l0")


def cosine(trace: Rebuilt) -> Estimate:
    """Cosine of all centred activations with all centred reconstructions, pooled; a constant reconstruction has 0."""
    sums = {name: per_document(getattr(trace, name), trace.inside) for name in ("product", "signal", "output")}
    if sums["output"].sum() <= 1e-10 * sums["signal"].sum():  # the mean has no direction
        sums = {"product": 0 * sums["product"], "signal": sums["signal"], "output": sums["signal"]}
    return bootstrap(sums, lambda s: s["product"] / (s["signal"] * s["output"]) ** 0.5, purpose="reconstruction.cosine")


def cosines(trace: Rebuilt) -> Float[Tensor, "document position"]:
    """(document, position) cosines; 0 where the reconstruction is the mean, which has no direction."""
    varies = trace.output > 1e-10 * trace.signal
    return (trace.product / (trace.signal * trace.output).sqrt()).where(varies, trace.product.new_zeros(()))


def shrinkage(trace: Rebuilt) -> Estimate:
    """|1 - g| with g = E||y||^2 / E<x, y>, both centred: by how much scaling the output would improve it.

    After the relative reconstruction bias of Rajamanoharan et al. 2024 (arXiv 2404.16014), which is not centred,
    so that there a constant prediction is perfect.
    """
    sums = {"output": per_document(trace.output, trace.inside), "product": per_document(trace.product, trace.inside)}
    if sums["product"].sum() <= 1e-6 * per_document(trace.signal, trace.inside).sum():
        raise Unscored("the reconstruction does not vary with the activation, so there is no scale to speak of")
    return _folded(bootstrap(sums, lambda s: 1 - s["output"] / s["product"], purpose="reconstruction.shrinkage"))


def _folded(signed: Estimate) -> Estimate:
    """The absolute value, with the interval of the signed one: resamples of an absolute value are never below 0."""
    ends = sorted((abs(signed.ci_low), abs(signed.ci_high)))
    low = 0.0 if signed.ci_low <= 0 <= signed.ci_high else ends[0]
    items = {**signed.items}
    if signed.value < 0 and "contribution" in items:
        items["contribution"] = -items["contribution"]
    return replace(signed, value=abs(signed.value), ci_low=low, ci_high=ends[1], items=items)


def dead_fraction(trace: Encoded) -> Estimate:
    """Share of latents that are active on no token of the corpus."""
    return proportion(int((trace.fired == 0).sum()), len(trace.fired), n_unit="latent")


def dense_fraction(trace: Rebuilt) -> Estimate:
    """Share of latents that are active on more than a tenth of the tokens."""
    tokens = tokens_per_document(trace).sum()
    return proportion(int((trace.fired > DENSE * tokens).sum()), len(trace.fired), n_unit="latent")


def kl(trace: Trace) -> Estimate:
    """Mean KL(clean || spliced) in nats; the floor is that of the mean activation in the SAE's place."""
    tokens = tokens_per_document(trace)
    estimate = ratio_of_sums(per_document(trace.kl, trace.inside), tokens, purpose="reconstruction.kl")
    return _with_floor(estimate, _mean(trace.mean_kl, trace))


def ce_increase(trace: Trace) -> Estimate:
    """Mean increase of next-token cross-entropy in nats when the SAE is spliced in; it can be negative by chance."""
    tokens, increase = tokens_per_document(trace), per_document(trace.ce - trace.clean_ce, trace.inside)
    estimate = ratio_of_sums(increase, tokens, purpose="reconstruction.ce_increase")
    return _with_floor(estimate, _mean(trace.mean_ce - trace.clean_ce, trace))


def ce(trace: Trace) -> Estimate:
    """Mean next-token cross-entropy in nats with the SAE spliced in; the ceiling is the model's own, the floor that of zeros.

    Described and not ranked, since a model with a low loss has a low one whatever the SAE does: `reconstruction.ce_increase`
    is the SAE's part. The controls tell the loss of the model itself (`clean`), and with zeros or the mean activation in place
    of the activation.
    """
    tokens = tokens_per_document(trace)
    given = {"clean": trace.clean_ce, "zero_ablation": trace.zero_ce, "mean_ablation": trace.mean_ce}
    controls = {name: _mean(value, trace) for name, value in given.items()}
    estimate = ratio_of_sums(per_document(trace.ce, trace.inside), tokens, purpose="reconstruction.ce")
    return replace(estimate, floor=controls["zero_ablation"], ceiling=controls["clean"], controls=controls)


def kl_recovered(trace: Trace) -> Estimate:
    """(KL_ablated - KL_sae) / KL_ablated with zeros as the ablation, from pooled sums; KL(clean || ablated or spliced).

    1 for the identity, 0 for an SAE as bad as zeros. The floor is the mean activation in the SAE's place, which is nearer to
    the model than zeros are; the controls tell both divergences in nats. Zeros are so bad that random weights with hundreds of
    latents on reach .84 on the embedded model: what counts is how little is missing to 1. SAEBench's `kl_div_score`
    (arXiv 2503.09532).
    """
    ablated = per_document(trace.zero_kl, trace.inside)
    if ablated.sum() <= 0:
        raise Unscored("zeros at this hook do not change what the model predicts")
    recovered = ablated - per_document(trace.kl, trace.inside)
    estimate = ratio_of_sums(recovered, ablated, purpose="reconstruction.kl_recovered")
    controls = {"zero_ablation": _mean(trace.zero_kl, trace), "mean_ablation": _mean(trace.mean_kl, trace)}
    floor = max(0.0, 1 - controls["mean_ablation"] / controls["zero_ablation"])
    return replace(estimate, floor=floor, controls=controls)


def loss_recovered(trace: Trace, ablation: str) -> Estimate:
    """(CE_ablated - CE_sae) / (CE_ablated - CE_clean) with `ablation` "zero" or "mean", from pooled sums.

    1 for the identity; 0 for an SAE as bad as the ablation, and below for a worse one.
    Raises Unscored where the ablation does not hurt the model, since nothing can be recovered then.
    """
    ablated = {"zero": trace.zero_ce, "mean": trace.mean_ce}[ablation]
    lost = per_document(ablated - trace.clean_ce, trace.inside)
    if ratio_of_sums(lost, tokens_per_document(trace), purpose=f"{ablation} ablation").ci_low <= 0:
        raise Unscored(f"{ablation} ablation at this hook does not raise the model's loss")
    recovered = per_document(ablated - trace.ce, trace.inside)
    return ratio_of_sums(recovered, lost, purpose=f"reconstruction.recovered_{ablation}")


def _mean(values: Float[Tensor, "document position"], trace: Rebuilt) -> float:
    """Over the tokens of the training context."""
    return float(per_document(values, trace.inside).sum() / tokens_per_document(trace).sum())


def _with_floor(estimate: Estimate, floor: float) -> Estimate:
    return Estimate(**{**vars(estimate), "floor": floor})
