"""Linear probes: what of a concept can be read from the activation at all, with which latents are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

PENALTIES = (1e-4, 1e-3, 1e-2)
"""L2 penalties, of which validation words choose."""
ITERATIONS = 60
"""Of L-BFGS, after which losses of these sizes stand still."""


@dataclass(frozen=True)
class Probe:
    """One logistic probe per concept: yes where `x @ direction > threshold`."""

    direction: Float[Tensor, "concept d"]
    """Unit vectors."""
    threshold: Float[Tensor, " concept"]

    def says(self, x: Float[Tensor, "row d"]) -> Bool[np.ndarray, "row concept"]:
        """(row, concept) whether each probe says yes to each activation (row, d)."""
        said: NDArray[np.bool_] = (x @ self.direction.T > self.threshold).numpy()
        return said


def fit_probe(
    x: Float[Tensor, "row d"],
    member: Bool[np.ndarray, "row concept"],
    train: Bool[np.ndarray, " row"],
    validation: Bool[np.ndarray, " row"],
) -> Probe:
    """One-vs-rest logistic probes of all concepts at once, with classes weighted alike.

    Directions are fitted on train rows; the penalty and the thresholds, for the best F1, are chosen on validation
    rows. Nothing depends on the basis that the activations (row, d) are written in.
    """
    import torch

    fit_rows, choice_rows = torch.from_numpy(np.flatnonzero(train)), torch.from_numpy(np.flatnonzero(validation))
    centre = x[fit_rows].mean(0)
    scale = (x[fit_rows] - centre).square().mean().sqrt().clamp(min=1e-12)
    features, labels = (x[fit_rows] - centre) / scale, torch.from_numpy(member[train]).float()
    weights = x.new_zeros(member.shape[1], x.shape[1] + 1)
    best: tuple[float, Probe] | None = None
    for penalty in sorted(PENALTIES, reverse=True):
        weights = _logistic(features, labels, weights, penalty)
        direction = torch.nn.functional.normalize(weights[:, :-1], dim=1)
        f1, threshold = best_thresholds((x[choice_rows] @ direction.T).numpy(), member[validation])
        if best is None or f1.mean() > best[0]:
            best = float(f1.mean()), Probe(direction, torch.from_numpy(threshold).to(x.dtype))
    assert best is not None
    return best[1]


def _logistic(features: Tensor, labels: Tensor, start: Tensor, penalty: float) -> Tensor:
    """Weights and biases (concept, d + 1) of balanced logistic regressions, by L-BFGS."""
    import torch

    positives = labels.mean(0).clamp(min=1e-9)
    balance = labels / (2 * positives) + (1 - labels) / (2 * (1 - positives).clamp(min=1e-9))
    weights = start.clone().requires_grad_()
    optimiser = torch.optim.LBFGS(
        [weights], max_iter=ITERATIONS, history_size=20, line_search_fn="strong_wolfe", tolerance_change=1e-7
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        logits = features @ weights[:, :-1].T + weights[:, -1]
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels, balance, reduction="sum")
        value = entropy / len(features) + penalty * weights[:, :-1].square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.enable_grad():
        optimiser.step(loss)  # type: ignore[no-untyped-call]
    return weights.detach()


def best_thresholds(
    scores: Float[np.ndarray, "row concept"], member: Bool[np.ndarray, "row concept"]
) -> tuple[Float[np.ndarray, " concept"], Float[np.ndarray, " concept"]]:
    """For each column of scores (row, concept) the best F1 of `score > threshold`, and that threshold.

    A threshold lies halfway between two scores, so that equal scores stay together.
    """
    order = np.argsort(-scores, axis=0, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=0).astype(np.float64)
    hits = np.take_along_axis(member, order, axis=0).cumsum(axis=0)
    following = np.vstack([ranked[1:], ranked[-1:] - 1])
    f1 = 2 * hits / (np.arange(1, len(scores) + 1)[:, None] + member.sum(0))
    f1 = np.where(ranked > following, f1, 0.0)
    best = f1.argmax(axis=0)
    columns = np.arange(scores.shape[1])
    return f1[best, columns], (ranked[best, columns] + following[best, columns]) / 2
