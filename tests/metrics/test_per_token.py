"""What is not centred has the values that arithmetic says, on traces made by hand and on SAEs whose scores are known."""

import numpy as np
import planted
import pytest
import torch

from saebench.metrics import per_token, reconstruction
from saebench.record.score import Unscored

METRICS = {
    "explained_by_token": (per_token.explained_by_token, 1.0), "mse": (per_token.mse, 0.0),
    "token_cosine": (per_token.token_cosine, 1.0), "l2_ratio": (per_token.l2_ratio, 1.0),
    "relative_bias": (per_token.relative_bias, 1.0),
}  # fmt: skip


def plain() -> tuple[np.ndarray, np.ndarray]:
    """(token, d) activations that count, and their mean, without anything of the trace."""
    x = planted.activations().residual[:, 1:-1].flatten(0, 1).double().numpy()
    return x, x.mean(axis=0)


@pytest.mark.parametrize("name", METRICS)
def test_identity_is_at_the_ideal(name: str) -> None:
    metric, ideal = METRICS[name]
    assert metric(planted.traced(planted.identity())).value == pytest.approx(ideal, abs=1e-5)


def test_a_constant_is_at_the_floors() -> None:
    trace = planted.traced(planted.mean_predictor())
    for metric in (per_token.mse, per_token.token_cosine):
        estimate = metric(trace)
        assert estimate.floor is not None
        assert estimate.value == pytest.approx(estimate.floor, rel=1e-3)
    assert per_token.explained_by_token(trace).value == pytest.approx(0, abs=1e-3)
    assert per_token.relative_bias(trace).value == pytest.approx(1, abs=1e-2)


def test_all_are_what_numpy_says() -> None:
    x, _ = plain()
    sae = planted.dictionary()
    w_enc, w_dec = sae.W_enc.double().numpy(), sae.W_dec.double().numpy()
    y = np.maximum(x @ w_enc + sae.b_enc.double().numpy(), 0) @ w_dec
    mean = planted.activations().residual[:, 1:-1].double().mean(dim=(0, 1)).numpy()
    error, norm_in, norm_out = ((x - y) ** 2).sum(1), np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1)
    inner = (x * y).sum(1)
    expected = {
        "explained_by_token": (1 - error / ((x - mean) ** 2).sum(1)).mean(), "mse": error.mean(),
        "token_cosine": (inner / (norm_in * norm_out)).mean(), "l2_ratio": (norm_out / norm_in).mean(),
        "relative_bias": (norm_out**2).mean() / inner.mean(),
    }  # fmt: skip
    trace = planted.traced(sae)
    found = {name: metric(trace).value for name, (metric, _) in METRICS.items()}
    assert found == pytest.approx(expected, rel=1e-4)
    controls = per_token.l2_ratio(trace).controls
    assert [controls["norm_in"], controls["norm_out"]] == pytest.approx([norm_in.mean(), norm_out.mean()], rel=1e-5)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_what_is_scaled_down_is_shorter_by_so_much(share: float) -> None:
    trace = planted.traced(planted.fake(lambda x: share * x, lambda latents: latents))
    assert per_token.l2_ratio(trace).value == pytest.approx(share, rel=1e-4)
    assert per_token.relative_bias(trace).value == pytest.approx(share, rel=1e-4)
    assert per_token.token_cosine(trace).value == pytest.approx(1, rel=1e-4)
    x, _ = plain()
    assert per_token.mse(trace).value == pytest.approx((1 - share) ** 2 * (x**2).sum(1).mean(), rel=1e-4)


def test_mse_does_not_depend_on_the_batch() -> None:
    """SAEBench's is smaller for larger batches (core/main.py, line 570)."""
    subject = planted.subject()
    trace, size = planted.traced(planted.dictionary()), subject.batch.size
    subject.batch.size = 5
    try:
        assert per_token.mse(planted.traced(planted.dictionary())).value == pytest.approx(per_token.mse(trace).value)
    finally:
        subject.batch.size = size


def test_nothing_has_no_direction() -> None:
    trace = planted.traced(planted.zero())
    assert per_token.token_cosine(trace).value == per_token.l2_ratio(trace).value == 0
    with pytest.raises(Unscored, match="do not point where activations do") as caught:
        per_token.relative_bias(trace)
    assert not caught.value.broken


def test_tokens_without_a_norm_are_left_out() -> None:
    norms = torch.full((24, 96), 2.0, dtype=torch.float64)
    norms[:, 5] = 0.0
    trace = planted.make_trace(norm_in=norms, norm_out=1.0, signal=norms)
    assert per_token.l2_ratio(trace).value == pytest.approx(0.5)
    assert np.isfinite(per_token.explained_by_token(trace).value)


def test_divergence_recovered() -> None:
    assert reconstruction.kl_recovered(planted.traced(planted.identity())).value == pytest.approx(1, abs=1e-4)
    of_zero = reconstruction.kl_recovered(planted.traced(planted.zero()))
    assert of_zero.value == pytest.approx(0, abs=1e-4)
    of_mean = reconstruction.kl_recovered(planted.traced(planted.mean_predictor()))
    assert of_mean.value == pytest.approx(1 - of_mean.controls["mean_ablation"] / of_mean.controls["zero_ablation"])
    assert reconstruction.kl_recovered(planted.make_trace(kl=1.0)).floor == 0.25
    with pytest.raises(Unscored, match="zeros at this hook do not change"):
        reconstruction.kl_recovered(planted.make_trace(zero_kl=0.0))


def test_divergence_of_zeros_is_what_plain_softmax_says() -> None:
    on = planted.activations()
    zeroed = (
        planted.subject().logits
    )  # the clean pass; with zeros through the block that is left, by transformers alone
    model = planted.gpt2()
    hidden = torch.zeros_like(on.residual)
    hidden[:, 0] = on.residual[:, 0]
    out = model.transformer.h[1](hidden)
    logits = model.lm_head(model.transformer.ln_f(out[0] if isinstance(out, tuple) else out))
    clean, other = (each.double().log_softmax(-1) for each in (zeroed(on.tokens), logits))
    kl = (clean.exp() * (clean - other)).sum(-1)[:, 1:-1].mean()
    controls = reconstruction.kl_recovered(planted.traced(planted.identity())).controls
    assert controls["zero_ablation"] == pytest.approx(float(kl), rel=1e-3)


def test_cross_entropy_lies_between_the_models_and_that_of_zeros() -> None:
    own = reconstruction.ce(planted.traced(planted.identity()))
    assert own.value == pytest.approx(own.ceiling, rel=1e-4)
    none = reconstruction.ce(planted.traced(planted.zero()))
    assert none.value == pytest.approx(none.floor, rel=1e-4)
    middle = planted.make_trace(ce=3.0)
    assert [reconstruction.ce(middle).value, *reconstruction.ce(middle).controls.values()] == [3.0, 2.0, 6.0, 5.0]
