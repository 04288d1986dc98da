"""Retention and break-points that were planted are found, and questions without an answer stay unscored."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import planted
import pytest
import torch
from torch import Tensor

from saebench.evidence.trace import Trace
from saebench.metrics import context_length as metric
from saebench.record.score import Unscored

INSIDE, POSITIONS = 32, 96
SCORES = (metric.kl_retention, metric.fvu_retention, metric.kl_inside, metric.kl_beyond, metric.break_point)


def steps(*levels: tuple[int, float], documents: int = 24, noise: float = 0.1) -> Tensor:
    """KL that has a level from each of some positions on, times noise per token and per document."""
    generator = torch.Generator().manual_seed(5)
    kl = torch.ones(documents, POSITIONS, dtype=torch.float64)
    for start, level in levels:
        kl[:, start:] = level
    per_document, per_token = (torch.randn(shape, generator=generator) for shape in ((documents, 1), kl.shape))
    return kl * (1 + noise * per_document).abs() * (1 + noise * per_token).abs()


def test_flat_kl_is_retained() -> None:
    estimate = metric.kl_retention(planted.make_trace(kl=steps((0, 0.1))))
    assert estimate.value == pytest.approx(1, abs=0.02)
    assert estimate.ci_low < 1 < estimate.ci_high


def test_doubled_kl_is_half_retained() -> None:
    trace = planted.make_trace(kl=steps((0, 0.1), (INSIDE, 0.2)), error=steps((0, 0.1), (INSIDE, 0.4)))
    assert metric.kl_retention(trace).value == pytest.approx(0.5, abs=0.02)
    assert metric.kl_retention(trace).ci_high < 1
    assert metric.fvu_retention(trace).value == pytest.approx(0.25, abs=0.02)
    assert (metric.kl_inside(trace).value, metric.kl_beyond(trace).value) == pytest.approx((0.1, 0.2), rel=0.1)


def test_controls_say_what_the_clean_model_does() -> None:
    trace = planted.make_trace(kl=steps((0, 0.1), (INSIDE, 0.2)))
    trace.clean_ce[:, INSIDE:] = 1.5
    controls = metric.kl_retention(trace).controls
    assert (controls["clean_ce_inside"], controls["clean_ce_beyond"]) == (2.0, 1.5)
    assert controls["kl_inside"] / controls["kl_beyond"] == pytest.approx(metric.kl_retention(trace).value)


@pytest.mark.parametrize("start", [INSIDE, INSIDE + 16, INSIDE + 48])
def test_planted_break_is_found(start: int) -> None:
    estimate = metric.break_point(planted.make_trace(kl=steps((0, 0.1), (start, 0.3))))
    assert estimate.value == start
    assert estimate.ci_low <= start <= estimate.ci_high
    assert estimate.ceiling == POSITIONS + 1


def test_break_amid_a_bin_is_found_to_a_bin() -> None:
    value = metric.break_point(planted.make_trace(kl=steps((0, 0.1), (INSIDE + 20, 0.5)))).value
    assert value in (INSIDE + 16, INSIDE + 32)


@pytest.mark.parametrize("level", [0.1, 0.13, 0.01])
def test_without_a_break_it_lies_at_the_ceiling(level: float) -> None:
    estimate = metric.break_point(planted.make_trace(kl=steps((0, 0.1), (INSIDE, level))))
    assert estimate.value == estimate.ci_low == estimate.ci_high == estimate.ceiling == POSITIONS + 1


def test_break_has_an_interval_where_kl_is_near_the_threshold() -> None:
    estimate = metric.break_point(planted.make_trace(kl=steps((0, 0.1), (INSIDE, 0.15), noise=0.3)))
    assert estimate.ci_low < estimate.ci_high


# Where the question has no answer


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"context_known": False}, "context that the SAE was trained on is unknown"),
        ({"inside": POSITIONS}, f"run on {POSITIONS + 1} positions, and the SAE was trained on no fewer"),
        ({"inside": POSITIONS + 1}, f"run on {POSITIONS + 1} positions, and the SAE was trained on no fewer"),
        ({"ce": 4.9}, r"recovers 0\.03 .* of the loss, less than 0\.5"),
        ({"ce": 11.0}, r"recovers -2\.00 .* of the loss, less than 0\.5"),
        ({"mean_ce": 2.0}, "mean ablation at this hook does not raise the model's loss"),
    ],
)
def test_no_answer_has_its_reason(score: Any, change: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unscored, match=reason) as caught:
        score(planted.make_trace(**change))
    assert not caught.value.broken


def test_garbage_everywhere_is_unscored_though_it_loses_nothing_further_on() -> None:
    garbage = planted.make_trace(kl=steps((0, 9.0)), ce=11.0)
    assert float(garbage.kl[:, 1:INSIDE].mean() / garbage.kl[:, INSIDE:].mean()) == pytest.approx(1, abs=0.02)
    with pytest.raises(Unscored, match="less than"):
        metric.kl_retention(garbage)


def test_mean_predictor_is_unscored() -> None:
    trace = planted.traced(planted.mean_predictor(), context_size=20)
    with pytest.raises(Unscored, match=r"FVU of 1\.0"):
        metric.kl_retention(trace)


def test_an_sae_that_reconstructs_nothing_is_unscored_however_much_loss_it_recovers() -> None:
    trace = planted.make_trace(error=8.0)
    with pytest.raises(Unscored, match=r"FVU of \d"):
        metric.kl_retention(trace)


def test_an_sae_that_recovers_no_loss_is_unscored_however_well_it_reconstructs() -> None:
    with pytest.raises(Unscored, match=r"recovers 0\.\d\d .* of the loss"):
        metric.kl_retention(planted.make_trace(ce=4.5))


def test_garbage_beyond_the_context_is_retained_badly() -> None:
    on = planted.with_residual(lambda x: x[:, 20:].mul_(1.0001))
    beyond = {tuple(row) for row in on.residual[:, 20:].flatten(0, 1).tolist()}
    sae = planted.noisy_identity(0.3)
    worse = planted.fake(
        lambda x: torch.where(torch.tensor([[tuple(row) in beyond] for row in x.tolist()]), -x, sae.encode(x)),
        sae.decode,
    )
    assert metric.kl_retention(planted.traced(worse, on, context_size=20)).value < 0.2
    assert metric.break_point(planted.traced(worse, on, context_size=20)).value == 20


def test_identity_has_nothing_to_retain() -> None:
    with pytest.raises(Unscored) as caught:
        metric.kl_retention(planted.traced(planted.identity(), context_size=20))
    assert not caught.value.broken


# The curve


@pytest.mark.parametrize("inside", [2, 16, 17, 32, 50, 64, 79, 80, 95])
def test_bins_meet_at_the_end_of_the_context_and_cover_every_position_once(inside: int) -> None:
    edges, n_inside = metric._edges(planted.make_trace(inside=inside))
    assert edges[n_inside] == inside
    assert [p for low, high in pairwise(edges) for p in range(low, high)] == list(range(1, POSITIONS))
    assert max(high - low for low, high in pairwise(edges)) <= metric.BIN


@pytest.mark.parametrize("inside", [16, 50, 95])
def test_curves_have_one_value_per_bin(inside: int) -> None:
    trace = planted.make_trace(inside=inside)
    edges, _ = metric._edges(trace)
    curves = metric.curves(trace)
    assert {len(values) for values in curves.values()} == {len(edges) - 1}
    assert (np.diff(curves["position"]) > 0).all()
    assert (curves["kl_low"] < curves["kl"]).all()
    assert (curves["kl"] < curves["kl_high"]).all()


def test_curve_says_what_was_planted() -> None:
    curves = metric.curves(planted.make_trace(kl=steps((0, 0.1), (64, 0.4)), ce=2.25, l0=7.0))
    beyond = curves["position"] > 64
    assert curves["kl"][~beyond] == pytest.approx(0.1, rel=0.1)
    assert curves["kl"][beyond] == pytest.approx(0.4, rel=0.1)
    assert curves["l0"] == pytest.approx(7)
    assert curves["ce_increase"] == pytest.approx(0.25)


def test_curve_is_among_the_items() -> None:
    items = metric.kl_retention(planted.make_trace()).items
    assert {"position", "kl", "kl_low", "kl_high", "fvu", "numerator", "denominator"} <= set(items)
    assert items["context_size"].tolist() == [INSIDE]


def test_bos_moves_nothing() -> None:
    trace = planted.make_trace(kl=steps((0, 0.1)))
    expected = [score(trace).value for score in SCORES]
    for values in (trace.kl, trace.error, trace.ce, trace.clean_ce):
        values[:, 0] = 1e6
    assert [score(trace).value for score in SCORES] == expected


def test_order_of_documents_does_not_matter() -> None:
    trace = planted.make_trace(kl=steps((0, 0.1), (INSIDE, 0.17), noise=0.3))
    turned = shuffled(trace)
    for score in SCORES:
        assert score(turned).value == pytest.approx(score(trace).value)
        assert score(turned).ci_low == pytest.approx(score(trace).ci_low, rel=0.1)


def shuffled(trace: Trace) -> Trace:
    order = torch.randperm(len(trace.kl), generator=torch.Generator().manual_seed(1))
    return replace(trace, **{k: v[order] for k, v in vars(trace).items() if isinstance(v, Tensor) and v.ndim == 2})
