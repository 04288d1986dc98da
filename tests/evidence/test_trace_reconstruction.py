"""SAEs whose scores are known beforehand get them, and nothing that should not count does."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import planted
import pytest
import torch
from torch import Tensor

from saebench.evidence.trace import Trace
from saebench.metrics import reconstruction as metric
from saebench.record.score import Estimate, Unscored
from saebench.subject.batches import MOST
from saebench.subject.passes import losses_against

ABLATIONS = ("zero", "mean")


@cache
def of_identity() -> Trace:
    return planted.traced(planted.identity())


@cache
def of_mean() -> Trace:
    return planted.traced(planted.mean_predictor())


@cache
def of_dictionary() -> Trace:
    return planted.traced(planted.dictionary())


def values(trace: Trace) -> tuple[float, ...]:
    return tuple(m(trace).value for m in (metric.fvu, metric.kl, metric.l0, metric.cosine, metric.dead_fraction))


# The ends of the scales


@pytest.mark.parametrize(
    ("score", "expected"),
    [(metric.fvu, 0), (metric.kl, 0), (metric.ce_increase, 0), (metric.cosine, 1), (metric.shrinkage, 0)],
)
def test_identity_is_perfect(score: Callable[[Trace], Estimate], expected: float) -> None:
    assert score(of_identity()).value == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_identity_recovers_all_of_the_loss(ablation: str) -> None:
    assert metric.loss_recovered(of_identity(), ablation).value == pytest.approx(1, abs=1e-4)


def test_mean_predictor_explains_nothing() -> None:
    assert metric.fvu(of_mean()).value == pytest.approx(1, abs=1e-3)
    assert metric.cosine(of_mean()).value == pytest.approx(0, abs=1e-3)
    assert metric.loss_recovered(of_mean(), "mean").value == pytest.approx(0, abs=1e-3)


def test_mean_predictor_has_the_kl_that_is_the_floor() -> None:
    estimate = metric.kl(of_mean())
    assert estimate.value == pytest.approx(estimate.floor, rel=1e-3)
    assert metric.ce_increase(of_mean()).value == pytest.approx(metric.ce_increase(of_mean()).floor, rel=1e-3)


def test_mean_predictor_has_no_shrinkage() -> None:
    with pytest.raises(Unscored, match="does not vary with the activation") as caught:
        metric.shrinkage(of_mean())
    assert not caught.value.broken


def test_zero_sae_is_zero_ablation() -> None:
    trace = planted.traced(planted.zero())
    assert metric.loss_recovered(trace, "zero").value == pytest.approx(0, abs=1e-4)
    assert metric.fvu(trace).value > 1


def test_worse_than_ablation_is_below_zero() -> None:
    trace = planted.make_trace(ce=7.0)
    assert [metric.loss_recovered(trace, a).value for a in ABLATIONS] == pytest.approx([-0.25, -2 / 3])


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_harmless_ablation_leaves_nothing_to_recover(ablation: str) -> None:
    trace = planted.make_trace(**{f"{ablation}_ce": 2.0})
    with pytest.raises(Unscored, match=f"{ablation} ablation at this hook does not raise"):
        metric.loss_recovered(trace, ablation)


def test_all_dead_and_all_dense() -> None:
    dead, dense = (planted.traced(planted.always(planted.activations().mean, dead=dead)) for dead in (True, False))
    assert [m(dead).value for m in (metric.l0, metric.dead_fraction, metric.dense_fraction)] == [0, 1, 0]
    assert [m(dense).value for m in (metric.l0, metric.dead_fraction, metric.dense_fraction)] == [8, 0, 1]


def test_dead_is_never_and_dense_is_more_than_a_tenth() -> None:
    trace = planted.make_trace(fired=torch.tensor([0.0, 1.0, 74.0, 75.0, 744.0]))  # of 24 times 31 tokens
    assert metric.dead_fraction(trace).value == 0.2
    assert metric.dense_fraction(trace).value == 0.4


def test_constant_reconstruction_has_no_cosine() -> None:
    """Nine tokens of ten lie close to the mean on one side, one far on the other: a constant is no direction."""
    centred = torch.tensor([1.0] * 9 + [-9.0], dtype=torch.float64).repeat(2)
    trace = planted.make_trace(positions=21, inside=21)
    trace.product[:, 1:], trace.signal[:, 1:], trace.output[:] = centred, centred.square(), 1.0
    assert metric.cosine(trace).value == pytest.approx(0, abs=1e-3)


# The incumbent's two bugs


def incumbent_explained_variance(x: Tensor, y: Tensor) -> float:
    """SAEBench's core/main.py, lines 580-627: for ||E[x]||² it takes the square of E[x²], over all dimensions."""
    total = x.square().sum(-1).mean() - x.square().mean() ** 2
    return float(1 - (x - y).square().sum(-1).mean() / total)


def test_returning_a_large_mean_explains_no_variance() -> None:
    on = planted.with_residual(lambda x: x.mul_(0.05).add_(2))
    x = on.residual[:, 1:].flatten(0, 1)
    assert incumbent_explained_variance(x, on.mean.expand_as(x)) > 0.9
    trace = planted.traced(planted.mean_predictor(on), on)
    assert metric.fvu(trace).value == pytest.approx(1, abs=1e-3)
    assert metric.cosine(trace).value == pytest.approx(0, abs=1e-3)
    with pytest.raises(Unscored, match="does not vary"):
        metric.shrinkage(trace)


def test_error_does_not_depend_on_the_mean() -> None:
    on = planted.with_residual(lambda x: x.add_(10))
    noisy = planted.fake(lambda x: (x - 10) * 0.9, lambda latents: latents + 10)
    plain = planted.fake(lambda x: x * 0.9, lambda latents: latents)
    assert metric.fvu(planted.traced(noisy, on)).value == pytest.approx(metric.fvu(planted.traced(plain)).value, 1e-3)


@pytest.mark.parametrize("batch", [1, 7, 24])
def test_scores_do_not_depend_on_the_batch_size(batch: int) -> None:
    expected = values(of_dictionary())
    subject = planted.subject()
    subject.batch.size = batch
    planted.activations.cache_clear()
    try:
        assert values(planted.traced(planted.dictionary())) == pytest.approx(expected, abs=1e-5)
    finally:
        subject.batch.size = MOST
        planted.activations.cache_clear()


# More noise, worse scores; the same SAE in other words, the same scores


def test_dose_and_response() -> None:
    traces = [planted.traced(planted.noisy_identity(scale)) for scale in (0.0, 0.1, 0.3, 1.0, 3.0)]
    for score in (metric.fvu, metric.kl):
        found = [score(trace).value for trace in traces]
        assert found == sorted(found)
        assert len(set(found)) == len(found)
    recovered = [metric.loss_recovered(trace, "mean").value for trace in traces]
    assert recovered == sorted(recovered, reverse=True)


def test_shrinkage_is_the_scale_that_is_missing() -> None:
    mean = planted.activations().mean
    for scale in (0.5, 0.8, 1.25):
        sae = planted.fake(lambda x: x - mean, lambda latents, scale=scale: mean + scale * latents)
        assert metric.shrinkage(planted.traced(sae)).value == pytest.approx(abs(1 - scale), abs=1e-4)


@pytest.mark.parametrize("change", [planted.rescaled, planted.permuted])
def test_scale_and_order_of_latents_do_not_matter(change: Callable[[SimpleNamespace], SimpleNamespace]) -> None:
    assert values(planted.traced(change(planted.dictionary()))) == pytest.approx(values(of_dictionary()), abs=1e-5)


def test_dead_latents_count_as_dead_and_as_nothing_else() -> None:
    plain, more = of_dictionary(), planted.traced(planted.with_dead(planted.dictionary(), 64))
    assert values(more)[:4] == pytest.approx(values(plain)[:4], abs=1e-5)
    assert metric.dead_fraction(plain).value == 0
    assert metric.dead_fraction(more).value == 0.5
    assert metric.dead_fraction(more).n == 128


def test_twice_the_latents_are_twice_the_l0() -> None:
    plain, twice = values(of_dictionary()), values(planted.traced(planted.duplicated(planted.dictionary())))
    assert twice[:2] == pytest.approx(plain[:2], abs=1e-5)
    assert twice[2] == pytest.approx(2 * plain[2])


def test_w_dec_stands_for_decode() -> None:
    sae = planted.dictionary()
    both = planted.fake(sae.encode, lambda latents: latents @ sae.W_dec)
    assert values(planted.traced(both)) == values(of_dictionary())


def test_negative_latents_are_active() -> None:
    assert metric.l0(of_identity()).value == planted.D
    negative = planted.fake(lambda x: -torch.ones(len(x), 5), lambda latents: torch.zeros(len(latents), planted.D))
    assert metric.l0(planted.traced(negative)).value == 5
    assert metric.dead_fraction(planted.traced(negative)).value == 0


def test_kl_is_from_the_clean_to_the_spliced_and_ce_is_of_the_next_token() -> None:
    clean, spliced = torch.randn(2, 3, 5, planted.VOCABULARY, generator=torch.Generator().manual_seed(0)) * 3
    rows = planted.tokens()[:3, :5]
    clean, spliced, following = clean[:, :-1].flatten(0, 1), spliced[:, :-1].flatten(0, 1), rows[:, 1:].flatten()
    ce, kl = losses_against(clean, spliced, following)
    p, q = (torch.distributions.Categorical(logits=logits) for logits in (clean, spliced))
    assert torch.allclose(kl, torch.distributions.kl_divergence(p, q), atol=1e-5)
    expected = torch.nn.functional.cross_entropy(spliced, following, reduction="none")
    assert torch.allclose(ce, expected, atol=1e-5)


def test_kl_is_not_negative() -> None:
    for trace in (of_identity(), of_mean(), of_dictionary(), planted.traced(planted.noisy_identity(1e-4))):
        assert float(trace.kl.min()) >= 0
        assert metric.kl(trace).ci_low >= 0


def test_latents_of_half_precision_are_scored() -> None:
    half = planted.fake(lambda x: x.bfloat16(), lambda latents: latents)
    assert 0 < metric.fvu(planted.traced(half)).value < 1e-3


def test_order_of_documents_does_not_matter() -> None:
    trace = of_dictionary()
    turned = replace(trace, **{k: v.flip(0) for k, v in vars(trace).items() if isinstance(v, Tensor) and v.ndim == 2})
    assert metric.fvu(turned).value == pytest.approx(metric.fvu(trace).value)
