"""What an SAE costs against the bare matrix products of its shapes, on the machine that it runs on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from saebench.score import Estimate, Unscored
from saebench.statistics import RESAMPLES, seed_of

if TYPE_CHECKING:
    from torch import Tensor

    from saebench.activations import Activations
    from saebench.sae import LoadedSAE

TOKENS = 4096


def operations(
    sae: LoadedSAE, activations: Activations
) -> dict[str, tuple[Callable[[], Tensor], Callable[[], Tensor]]]:
    """For encode and decode: the SAE's operation on 4,096 tokens, and the bare matrix product of its shape."""
    import torch

    x, _ = activations.inside(activations.residual.shape[1])
    x = x.repeat(-(-TOKENS // len(x)), 1)[:TOKENS].to(sae.device)
    latents = sae.encode(x)
    generator = torch.Generator().manual_seed(seed_of("throughput"))
    w_enc = torch.randn(x.shape[1], latents.shape[1], generator=generator).to(x)
    w_dec = w_enc.T.contiguous()
    return {
        "encode": (lambda: sae.encode(x), lambda: x @ w_enc),
        "decode": (lambda: sae.decode(latents), lambda: latents @ w_dec),
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

    Counted by torch's profiler allocation by allocation, so it has no noise.
    """
    pairs = operations(sae, activations)
    used = max(peak_bytes(pair[0]) for pair in pairs.values())
    bare = max(peak_bytes(pair[1]) for pair in pairs.values())
    return Estimate(
        used / bare, used / bare, used / bare, 1, "run", controls={"bytes": float(used), "bare": float(bare)}
    )


def peak_bytes(operation: Callable[[], Tensor]) -> int:
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
