"""Seconds that were planted give the ratio that they should, and bytes that were allocated are counted."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import planted
import pytest
import torch
from torch import Tensor

from saebench.catalogue.spec import SAESpec
from saebench.metrics import throughput as metric
from saebench.record.score import Unscored
from saebench.saes.loaders.normalised import normalised
from saebench.saes.sae import LoadedSAE

MEGABYTE = 1000 * 1000
FLOAT = 4


def seconds(median: float, n: int = 30) -> list[float]:
    return [median * (1 + 0.01 * (i - n // 2)) for i in range(n)]


@pytest.mark.parametrize(("slower", "speed"), [(2.0, 0.5), (1.0, 1.0), (10.0, 0.1), (0.5, 2.0)])
def test_relative_speed(slower: float, speed: float) -> None:
    estimate = metric.relative_speed(seconds(slower * 1e-3), seconds(1e-3))
    assert estimate.value == pytest.approx(speed)
    assert estimate.ci_low <= speed <= estimate.ci_high
    assert (estimate.n, estimate.n_unit) == (30, "round")


def test_one_slow_round_moves_nothing() -> None:
    slow = [*seconds(2e-3)[:-1], 9.0]
    assert metric.relative_speed(slow, seconds(1e-3)).value == pytest.approx(0.5, rel=0.02)


def test_speed_says_how_many_tokens() -> None:
    controls = metric.relative_speed([2.0, 2.0, 2.0], [1.0, 1.0, 1.0]).controls
    assert controls["bare"] == 2 * controls["tokens_per_second"]


@pytest.mark.parametrize(("timed", "bare"), [([], []), ([], [1.0]), ([1.0], [])])
def test_without_timings_it_is_unscored(timed: list[float], bare: list[float]) -> None:
    with pytest.raises(Unscored, match="pytest-benchmark is disabled"):
        metric.relative_speed(timed, bare)


def with_intermediate() -> Tensor:
    """Keeps a megafloat, and for a moment holds three."""
    first = torch.zeros(MEGABYTE)
    second = first + 1
    third = first + second
    del first
    return third


@pytest.mark.parametrize(
    ("operation", "floats"),
    [
        (lambda: torch.zeros(1000, 1000), 1),
        (with_intermediate, 3),
        (lambda: torch.zeros(1000, 1000).sum(), 1),
        (lambda: [torch.zeros(MEGABYTE).sum() for _ in range(5)][-1], 1),
        (lambda: torch.zeros(1000, 1000, dtype=torch.float64), 2),
    ],
)
def test_peak_of_memory(operation: Callable[[], Tensor], floats: int) -> None:
    assert metric.peak_bytes(operation) == pytest.approx(floats * MEGABYTE * FLOAT, rel=0.1)


def test_what_was_allocated_before_does_not_count() -> None:
    kept = torch.zeros(MEGABYTE)
    assert metric.peak_bytes(lambda: kept.view(1000, 1000)) == 0


def test_memory_of_the_bare_products_is_one() -> None:
    """A linear SAE without bias does exactly what it is compared with."""
    w = torch.randn(planted.D, 256)
    sae = planted.fake(lambda x: x @ w, lambda latents: latents @ w.T)
    assert metric.relative_memory(planted.loaded(sae), planted.activations()).value == 1


def test_more_intermediates_are_more_memory() -> None:
    w = torch.randn(planted.D, 256)
    plain = planted.fake(lambda x: x @ w, lambda latents: latents @ w.T)
    greedy = planted.fake(lambda x: ((x @ w) + 1).exp().log() - 1, plain.decode)
    of_plain, of_greedy = (metric.relative_memory(planted.loaded(s), planted.activations()) for s in (plain, greedy))
    assert of_greedy.value > of_plain.value
    assert of_greedy.controls["bare"] == of_plain.controls["bare"]


def test_both_operations_give_what_the_bare_products_give_in_shape() -> None:
    pairs = metric.operations(planted.loaded(planted.dictionary()), planted.activations())
    assert list(pairs) == ["encode", "decode"]
    for operation, bare in pairs.values():
        assert operation(operation.fresh()).shape == bare(bare.fresh()).shape


def test_operations_are_on_as_many_tokens_as_the_rate_says() -> None:
    """The planted corpus has fewer than 4,096 tokens."""
    encode, _ = metric.operations(planted.loaded(planted.identity()), planted.activations())["encode"]
    assert len(encode(encode.fresh())) == metric.TOKENS


@pytest.mark.parametrize("normalisation", ["none", "layer_norm", "constant_norm_rescale"])
def test_operations_can_be_repeated(normalisation: str) -> None:
    from sae_lens import StandardSAE, StandardSAEConfig

    config = StandardSAEConfig(d_in=planted.D, d_sae=64, device="cpu", normalize_activations=normalisation)
    source = normalised(StandardSAE(config).requires_grad_(False))
    sae = LoadedSAE(SAESpec(**planted.FACTS), source, "digest", "cpu")
    whole = planted.activations()
    short = replace(whole, residual=whole.residual[:2], tokens=whole.tokens[:2], length=whole.length[:2])
    for operation, _ in metric.operations(sae, short).values():
        assert torch.equal(*(operation(operation.fresh()) for _ in range(2)))


# What is timed


class OnGPU:
    """A tensor of a GPU, which does what it is told only when it is waited for."""

    is_cuda, device = True, "cuda:0"

    def __init__(self, log: list[str]) -> None:
        self.log = log

    def clone(self) -> "OnGPU":
        self.log.append("copied")
        return self


def test_an_operation_is_timed_until_the_gpu_has_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    clock = iter([1.0, 3.0])
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: log.append(f"waited for {device}"))
    monkeypatch.setattr("time.perf_counter", lambda: log.append("clock") or next(clock))
    given: Any = OnGPU(log)
    assert metric.Operation("encode", lambda x: log.append("told"), given).seconds() == 2.0
    waited = "waited for cuda:0"
    assert log == ["copied", waited, "clock", "told", waited, "clock"]


def test_neither_side_is_searched_for_nan_nor_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = metric.operations(planted.loaded(planted.dictionary()), planted.activations()).values()
    monkeypatch.setattr(torch, "isfinite", lambda x: pytest.fail("searched while it is timed", pytrace=False))
    monkeypatch.setattr(Tensor, "clone", lambda x, **_: pytest.fail("copied while it is timed", pytrace=False))
    for operation in (side for pair in pairs for side in pair):
        operation(operation.given)


def test_an_sae_that_writes_in_place_finds_the_same_in_every_round() -> None:
    seen: list[Tensor] = []

    def encode(x: Tensor) -> Tensor:
        seen.append(x.clone())
        return x.mul_(0)

    encoding, _ = metric.operations(planted.loaded(planted.fake(encode, lambda y: y)), planted.activations())["encode"]
    for _ in range(3):
        encoding(encoding.fresh())
    assert all(torch.equal(x, encoding.given) and x.any() for x in seen)


def test_what_an_sae_sets_is_put_back_between_rounds_and_its_error_is_a_sentence() -> None:
    threads = torch.get_num_threads()
    encoding = metric.Operation("encode", lambda x: torch.set_num_threads(threads + 3), torch.ones(2, 3))
    with encoding.guard():
        encoding(encoding.fresh())
    assert torch.get_num_threads() == threads
    with pytest.raises(Unscored, match=r"encode of shape \(2, 3\) raised ZeroDivisionError"), encoding.guard():
        raise ZeroDivisionError
