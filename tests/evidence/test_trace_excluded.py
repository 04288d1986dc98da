"""What lies outside a statistic moves nothing, and an SAE that misbehaves is told apart from one that is bad."""

from functools import cache
from types import SimpleNamespace

import planted
import pytest
import torch
from torch import Tensor

from saebench.evidence.trace import Trace
from saebench.metrics import reconstruction as metric
from saebench.record.score import Unscored


@cache
def of_dictionary() -> Trace:
    return planted.traced(planted.dictionary())


# What does not count: BOS, the last position, everything beyond the training context


def test_garbage_at_bos_costs_nothing() -> None:
    bos = planted.activations().residual[0, 0]
    trace = planted.traced(planted.except_where(lambda x: (x - bos).abs().amax(-1) < 1e-4))
    assert float(trace.error[:, 0].min()) > 1
    assert (metric.fvu(trace).value, metric.kl(trace).value) == pytest.approx((0, 0), abs=1e-5)


def test_activations_at_bos_move_nothing() -> None:
    on = planted.with_residual(lambda x: x[:, 0].add_(300))
    other = planted.traced(planted.dictionary(), on)
    for score in (metric.fvu, metric.l0, metric.cosine, metric.shrinkage, metric.dead_fraction, metric.dense_fraction):
        assert score(other).value == pytest.approx(score(of_dictionary()).value, abs=1e-6)


def marked(position: slice) -> planted.Activations:
    """Activations that are 77 in every dimension at some positions."""
    return planted.with_residual(lambda x: x[:, position].fill_(77.0))


def is_marked(x: Tensor) -> Tensor:
    return (x == 77.0).all(-1)


def test_garbage_at_the_last_position_costs_nothing() -> None:
    trace = planted.traced(planted.except_where(is_marked), marked(slice(-1, None)))
    assert trace.kl.shape == (planted.DOCUMENTS, planted.CONTEXT - 1)
    assert (metric.fvu(trace).value, metric.kl(trace).value) == pytest.approx((0, 0), abs=1e-5)


def test_activations_at_the_last_position_move_nothing() -> None:
    other = planted.traced(planted.dictionary(), marked(slice(-1, None)))
    assert metric.fvu(other).value == pytest.approx(metric.fvu(of_dictionary()).value)


def test_latent_that_fires_at_the_last_position_only_is_dead() -> None:
    sae = planted.fake(lambda x: is_marked(x).unsqueeze(-1).float(), lambda latents: latents.expand(-1, planted.D))
    trace = planted.traced(sae, marked(slice(-1, None)))
    assert metric.l0(trace).value == 0
    assert metric.dead_fraction(trace).value == 1


def test_garbage_beyond_the_training_context_costs_nothing() -> None:
    on, sae = marked(slice(20, None)), planted.except_where(is_marked)
    trace = planted.traced(sae, on, context_size=20)
    assert trace.inside == 20
    assert (metric.fvu(trace).value, metric.kl(trace).value) == pytest.approx((0, 0), abs=1e-5)
    assert metric.fvu(planted.traced(sae, on)).value > 0.1


def test_context_longer_than_the_models_is_all_inside() -> None:
    assert planted.traced(planted.identity(), context_size=1000).inside == planted.CONTEXT


# SAEs that misbehave


def nan_at_one(x: Tensor) -> Tensor:
    return torch.where(torch.arange(x.numel()).view_as(x) == 70, torch.nan, x)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (planted.fake(nan_at_one, lambda z: z), "encode returned 1 values of .* NaN or infinite"),
        (planted.fake(lambda x: x, nan_at_one), "decode returned 1 values of .* NaN or infinite"),
        (planted.fake(lambda x: x / 0, lambda z: z), "encode returned .* NaN or infinite"),
        (planted.fake(lambda x: x[:5], lambda z: z), "encode turned shape"),
        (planted.fake(lambda x: x.sum(-1), lambda z: z), "encode turned shape"),
        (planted.fake(lambda x: x, lambda z: z[:5]), "decode turned shape"),
        (planted.fake(lambda x: x, lambda z: z[:, :7]), "decode returns 7 dimensions for activations of 32"),
    ],
)
def test_misbehaviour_is_broken(source: SimpleNamespace, reason: str) -> None:
    with pytest.raises(Unscored, match=reason) as caught:
        planted.traced(source)
    assert caught.value.broken


def test_sae_that_says_it_reads_another_width_is_refused_before_it_runs() -> None:
    with pytest.raises(Unscored, match="the SAE reads 16 dimensions, tiny has 32"):
        planted.traced(planted.identity(), d_in=16)


def test_sae_of_another_width_that_does_not_say_so() -> None:
    sae = planted.relu_sae(torch.ones(16, 8), torch.zeros(8), torch.ones(8, 16))
    with pytest.raises(Unscored, match=r"encode of shape .* raised RuntimeError"):
        planted.traced(sae)


def test_decoder_of_another_number_of_latents() -> None:
    sae = planted.relu_sae(torch.ones(planted.D, 8), torch.zeros(8), torch.ones(9, planted.D))
    with pytest.raises(Unscored, match=r"decode of shape .* raised RuntimeError") as caught:
        planted.traced(sae)
    assert caught.value.broken


def test_reconstruction_too_large_for_its_square() -> None:
    huge = planted.fake(lambda x: x * 1e25, lambda latents: latents)
    with pytest.raises(Unscored) as caught:
        metric.fvu(planted.traced(huge))
    assert caught.value.broken


def test_nothing_to_decode_with_is_no_misbehaviour() -> None:
    with pytest.raises(Unscored, match="neither decode nor W_dec") as caught:
        planted.traced(SimpleNamespace(encode=lambda x: x))
    assert not caught.value.broken


@pytest.mark.parametrize("returned", [None, ("latents", "and more"), 1.0])
def test_what_is_no_tensor_is_broken(returned: object) -> None:
    for sae in (planted.fake(lambda x: returned, lambda z: z), planted.fake(lambda x: x, lambda z: returned)):
        with pytest.raises(Unscored) as caught:
            planted.traced(sae)
        assert caught.value.broken


def test_sae_may_say_that_it_does_not_apply() -> None:
    def decline(x: Tensor) -> Tensor:
        raise Unscored("this SAE reads pairs of tokens")

    with pytest.raises(Unscored, match=r"^this SAE reads pairs of tokens$") as caught:
        planted.traced(planted.fake(decline, lambda z: z))
    assert not caught.value.broken
