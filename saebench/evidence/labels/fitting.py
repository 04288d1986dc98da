"""Logistic probes of many sets, held back as much as is best on validation texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from saebench.evidence.labels.logistic import logistic
from saebench.evidence.labels.parts import Part
from saebench.evidence.labels.ranks import auc

if TYPE_CHECKING:
    from torch import Tensor

    from saebench.evidence.labels.layout import Layout

STRENGTHS = tuple(float(c) for c in np.logspace(5, -5, 10))
"""How little weights are held back, as published; validation texts choose."""
FEW_STRENGTHS = (10.0, 1.0, 0.1, 0.01, 0.001)
"""The same for probes of everything, where each is dear."""


def fitted(x: Float[Tensor, "set text k"], layout: Layout, strengths: Sequence[float]) -> Float[Tensor, "set k1"]:
    """Weights of the probes with the strength that is best on validation texts, fitted on these as well.

    Each is looked for where the one that is held back more was found.
    """
    import torch

    x, y, trained, validated = _learned(x, layout)
    there, labels = (torch.from_numpy(each).double() for each in (trained | validated, y))
    weights = x.new_zeros(len(x), x.shape[2] + 1, dtype=torch.float64)
    falling: list[Tensor] = []
    for strength in sorted(strengths):
        every = torch.full((len(x),), strength, dtype=torch.float64)
        weights = logistic(x, labels, torch.from_numpy(trained).double(), every, weights)
        falling.insert(0, weights)
    # Of equals, the first: what is held back least.
    best = np.argmax([auc(says(x, one), y, validated) for one in falling], axis=0)
    chosen = torch.from_numpy(np.sort(strengths)[::-1][best])
    return logistic(x, labels, there, chosen, torch.stack(falling)[torch.from_numpy(best), torch.arange(len(x))])


def _learned(
    x: Float[Tensor, "set text k"], layout: Layout
) -> tuple[
    Float[Tensor, "set row k"], Bool[np.ndarray, "set row"], Bool[np.ndarray, "set row"], Bool[np.ndarray, "set row"]
]:
    """The texts that are learned from alone: features, labels, and which are for training and for choosing."""
    import torch

    learned = layout.mask(Part.TRAIN, Part.VALIDATION)
    order = np.argsort(~learned, axis=1, kind="stable")[:, : int(learned.sum(1).max())]
    taken = torch.take_along_dim(x, torch.from_numpy(order)[..., None], dim=1)
    masks = (layout.positive, layout.mask(Part.TRAIN), layout.mask(Part.VALIDATION))
    y, trained, validated = (np.take_along_axis(mask, order, axis=1) for mask in masks)
    return taken, y, trained, validated


def says(x: Float[Tensor, "set text k"], weights: Float[Tensor, "set k1"]) -> Float[np.ndarray, "set text"]:
    """Probability of each text."""
    import torch

    logits = torch.einsum("snk,sk->sn", x, weights[:, :-1]) + weights[:, -1:]
    found: Float[np.ndarray, "set text"] = torch.sigmoid(logits).numpy()
    return found
