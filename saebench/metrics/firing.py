"""How often latents are active, and how strongly: statistics that describe an SAE, and rank none."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from scipy import sparse

from saebench.metrics.reconstruction import DENSE, tokens_per_document
from saebench.record.score import Estimate, Unscored
from saebench.stats.statistics import Ints, never_certain, proportion, ratio_of_sums

if TYPE_CHECKING:
    from saebench.evidence.trace import Rebuilt
    from saebench.evidence.written import Written

FREQUENT = 0.01
"""A latent is frequent if it is active on more than this share of tokens."""


def frequent_fraction(trace: Rebuilt) -> Estimate:
    """Share of latents that are active on more than a hundredth of the tokens; all latents count, dead ones too.

    Neither more nor less is better: an SAE with an L0 of 1% of its width has most of its latents near this line.
    SAEBench's `freq_over_1_percent` (arXiv 2503.09532). The items are how often each latent is active (`density`).
    """
    density = density_of(trace)
    estimate = proportion(int((density > FREQUENT).sum()), len(density), n_unit="latent")
    return replace(estimate, items={**estimate.items, "density": density})


def share_of_frequent(trace: Rebuilt) -> Estimate:
    """Share of all activations that are of latents active on more than a hundredth of the tokens.

    Which latents these are is told by all documents; the interval is over documents. Neither more nor less is better. The
    control `dense` is the share of latents active on more than a tenth. SAEBench's `normalized_freq_over_1_percent`, and
    `normalized_freq_over_10_percent` (arXiv 2503.09532).
    """
    latents = _kept(trace)
    every = _by_document(trace, _on(latents) @ np.ones(latents.shape[1]))
    if not every.sum():
        raise Unscored("no latent is ever active")
    frequent, dense = (
        _by_document(trace, _on(latents) @ (density_of(trace) > above).astype(np.float64))
        for above in (FREQUENT, DENSE)
    )
    estimate = never_certain(ratio_of_sums(frequent, every, purpose="reconstruction.share_of_frequent"), 0.0, 1.0)
    return replace(estimate, controls={**estimate.controls, "dense": float(dense.sum() / every.sum())})


def persistence(trace: Rebuilt) -> Estimate:
    """On how many tokens of a document a latent is active, where it is active in it at all; pooled over latents.

    1 for latents that are active once in a text, the number of tokens per context for those that are always on. Neither
    more nor less is better, and longer contexts have more. SAEBench has it latent by latent (`consistent_activation_heuristic`,
    arXiv 2503.09532).
    """
    latents, documents = _kept(trace), len(trace.counted)
    at = _documents(trace)
    member = sparse.csr_array((np.ones(len(at)), (at, np.arange(len(at)))), shape=(documents, len(at)))
    counts = sparse.csr_array(member @ _on(latents))
    if not counts.nnz:
        raise Unscored("no latent is ever active")
    sums = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    return ratio_of_sums(sums, np.diff(counts.indptr).astype(np.float64), purpose="reconstruction.persistence")


def l1(trace: Rebuilt, written: Written) -> Estimate:
    """Sum over latents of |activation| times the norm of its decoder direction, mean over tokens.

    In units of the model's activations; dividing a latent's activations and multiplying its direction by a number changes
    nothing. SAEBench (`l1`, arXiv 2503.09532) adds activations up as they are, with their signs, of directions of norm 1.
    """
    sizes = np.abs(_kept(trace)) @ written.norms
    return ratio_of_sums(_by_document(trace, sizes), tokens_per_document(trace), purpose="reconstruction.l1")


def density_of(trace: Rebuilt) -> Float[np.ndarray, " latent"]:
    """(latent,) share of tokens on which each is active."""
    found: Float[np.ndarray, " latent"] = trace.fired.double().numpy() / max(
        float(tokens_per_document(trace).sum()), 1.0
    )
    return found


def _kept(trace: Rebuilt) -> sparse.csr_array:
    if trace.latents is None:
        raise Unscored("the latents are too dense to be kept, so that nothing tells in which documents each is active")
    return trace.latents


def _on(latents: sparse.csr_array) -> sparse.csr_array:
    """(token, latent) 1 where a latent is active."""
    return sparse.csr_array(((latents.data != 0).astype(np.float64), latents.indices, latents.indptr), latents.shape)


def _documents(trace: Rebuilt) -> Ints:
    """(token,) which document each token of the latents is in."""
    found: Ints = trace.counted[:, 1 : trace.inside].nonzero()[:, 0].numpy()
    return found


def _by_document(trace: Rebuilt, values: Float[np.ndarray, " token"]) -> Float[np.ndarray, " document"]:
    return np.bincount(_documents(trace), weights=values, minlength=len(trace.counted))
