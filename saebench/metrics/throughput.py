"""What an SAE costs against the bare matrix products of its shapes, on the machine that it runs on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from saebench.record.score import Estimate, Unscored
from saebench.stats.statistics import RESAMPLES, seed_of

if TYPE_CHECKING:
    from torch import Tensor

    from saebench.saes.sae import LoadedSAE
    from saebench.subject.activations import Activations

TOKENS = 4096
"""Per call: enough that a product takes longer than its launch, few enough for a laptop."""


@dataclass(frozen=True)
class Operation:
    """What is timed: the bare call, done when the device has done it. Copies are made, and results checked, elsewhere."""

    name: str
    run: Callable[[Float[Tensor, "row width"]], Any]
    given: Float[Tensor, "row width"]

    def fresh(self) -> Float[Tensor, "row width"]:
        """What it is given in a round, which it may change."""
        return _done(self.given.clone())

    def __call__(self, x: Float[Tensor, "row width"]) -> Any:
        found = self.run(x)
        _done(x)
        return found

    def seconds(self) -> float:
        x = self.fresh()
        begun = time.perf_counter()
        self(x)
        return time.perf_counter() - begun

    def guard(self) -> AbstractContextManager[list[str]]:
        """For the round of an SAE, which may not slow down or speed up the bare product of the next one."""
        from saebench.saes.guard import broken, guard

        return guard(partial(broken, f"{self.name} of shape {tuple(self.given.shape)}"))


def _done(x: Tensor) -> Tensor:
    """A GPU is told what to do, and does it later."""
    import torch

    if x.is_cuda:
        torch.cuda.synchronize(x.device)
    return x


def operations(sae: LoadedSAE, activations: Activations) -> dict[str, tuple[Operation, Operation]]:
    """For encode and decode: the SAE's operation on 4,096 tokens, and the bare matrix product of its shape."""
    import torch

    x, _ = activations.inside(activations.residual.shape[1])
    x = x.repeat(-(-TOKENS // len(x)), 1)[:TOKENS].to(sae.device)
    latents = sae.encode(x)
    sae.decode(latents)
    generator = torch.Generator().manual_seed(seed_of("throughput"))
    w_enc = torch.randn(x.shape[1], latents.shape[1], generator=generator).to(x)
    w_dec, codes = w_enc.T.contiguous(), latents.to(x)
    return {
        "encode": (Operation("encode", sae.raw("encode"), x), Operation("bare", lambda x: x @ w_enc, x)),
        "decode": (Operation("decode", sae.raw("decode"), latents), Operation("bare", lambda y: y @ w_dec, codes)),
    }


def relative_speed(sae_seconds: Sequence[float], bare_seconds: Sequence[float]) -> Estimate:
    """Tokens per second over those of the bare product: 1 = as fast, .5 = half as fast.

    Both are medians over rounds, of which the interval is a bootstrap.
    """
    if not sae_seconds or not bare_seconds:
        raise Unscored("timings are not taken here: pytest-benchmark is disabled, as under pytest-xdist")
    sae, bare = np.asarray(sae_seconds), np.asarray(bare_seconds)
    draws = np.random.default_rng(seed_of("throughput.relative_speed"))
    ratios = np.median(draws.choice(bare, (RESAMPLES, len(bare))), axis=1)
    ratios = ratios / np.median(draws.choice(sae, (RESAMPLES, len(sae))), axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    value = float(np.median(bare) / np.median(sae))
    controls = {"tokens_per_second": TOKENS / float(np.median(sae)), "bare": TOKENS / float(np.median(bare))}
    return Estimate(value, float(min(low, value)), float(max(high, value)), len(sae), "round", controls=controls)


def relative_memory(sae: LoadedSAE, activations: Activations) -> Estimate:
    """Peak memory allocated by encode and decode over what both bare products need for their results.

    Counted by torch's profiler allocation by allocation, so it has no noise. Neither is charged for the search for NaN.
    """
    pairs = operations(sae, activations).values()
    used, bare = (max(_peak(operation) for operation in side) for side in zip(*pairs, strict=True))
    return Estimate(
        used / bare, used / bare, used / bare, 1, "run", controls={"bytes": float(used), "bare": float(bare)}
    )


def _peak(operation: Operation) -> int:
    x = operation.fresh()
    with operation.guard():
        return peak_bytes(lambda: operation(x))


def peak_bytes(operation: Callable[[], Any]) -> int:
    """Highest sum of bytes allocated and not yet freed while `operation` runs."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        operation()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        kept = operation()
    del kept
    events = sorted(profile.events(), key=lambda event: event.time_range.start)
    return int(np.cumsum([event.self_cpu_memory_usage for event in events]).max(initial=0))
