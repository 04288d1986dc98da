"""Many small logistic regressions at once, by Newton's method: as scikit-learn's, one for each data set and strength."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Float

if TYPE_CHECKING:
    from torch import Tensor

ITERATIONS = 60
"""Most steps of Newton's method."""
TOLERANCE = 1e-9
"""Of the gradient, per row, at which the weights stand still."""
HALVINGS = 12
"""Most times that a step is halved until the loss is no greater."""
ROUNDING = 1e-12
"""Share of the loss by which it may seem greater where it is not."""


def logistic(
    x: Float[Tensor, "set row k"],
    y: Float[Tensor, "set row"],
    counted: Float[Tensor, "set row"],
    strength: Float[Tensor, " set"],
    start: Float[Tensor, "set k1"] | None = None,
) -> Float[Tensor, "set k1"]:
    """Weights and, last, the intercept of each set: least of C * sum of log-losses + half the squared weights.

    The intercept is not held back, as in scikit-learn's `LogisticRegression(C=strength)`. Rows with `counted` 0 are
    filling, since sets may be of different sizes. Computed in double precision. There is one solution; `start` is where
    it is looked for first, and a set that has found it takes no further step.
    """
    import torch

    features = torch.cat([x.double(), torch.ones_like(x[..., :1], dtype=torch.float64)], dim=-1)
    weight_of = strength.double()[:, None] * counted.double()
    found = features.new_zeros(features.shape[0], features.shape[-1]) if start is None else start.double().clone()
    moving = torch.arange(len(features))
    y, weights = y.double(), found
    for _ in range(ITERATIONS):
        step, gradient = _newton(features, y, weight_of, weights)
        far = gradient.abs().amax(1) > TOLERANCE * (1 + weight_of.sum(1))
        if not bool(far.any()):
            break
        if not bool(far.all()):
            moving, step = moving[far], step[far]
            features, y, weight_of, weights = features[far], y[far], weight_of[far], weights[far]
        weights = _no_worse(features, y, weight_of, weights, step)
        found[moving] = weights
    return found


def _held_back(weights: Tensor) -> Tensor:
    """The same weights without the intercept."""
    import torch

    return torch.cat([weights[:, :-1], torch.zeros_like(weights[:, -1:])], dim=1)


def _times(features: Tensor, weights: Tensor) -> Tensor:
    """(set, row)"""
    return (features @ weights[..., None])[..., 0]


def _newton(features: Tensor, y: Tensor, weight_of: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Step (set, k) and gradient (set, k)."""
    import torch

    said = torch.sigmoid(_times(features, weights))
    turned = features.transpose(1, 2)
    gradient = _times(turned, weight_of * (said - y)) + _held_back(weights)
    curved = features * (weight_of * said * (1 - said))[..., None]
    penalty = _held_back(torch.ones_like(weights[:1]))[0]
    hessian = turned @ curved + torch.diag(penalty + 1e-10)
    return torch.linalg.solve(hessian, gradient[..., None])[..., 0], gradient


def _no_worse(features: Tensor, y: Tensor, weight_of: Tensor, weights: Tensor, step: Tensor) -> Tensor:
    """The weights after the step, or after as much of it as makes the loss of a set no greater."""
    import torch

    before, change = _times(features, weights), _times(features, step)

    def loss(share: Tensor) -> Tensor:
        logits = before - share[:, None] * change
        entropy = torch.nn.functional.softplus(logits) - y * logits
        held = _held_back(weights - share[:, None] * step)
        return (weight_of * entropy).sum(1) + 0.5 * held.square().sum(1)

    share = torch.ones_like(weights[:, 0])
    most = loss(torch.zeros_like(share)) * (1 + ROUNDING)
    for _ in range(HALVINGS):
        worse = ~(loss(share) <= most)
        if not bool(worse.any()):
            break
        share = torch.where(worse, share / 2, share)
    kept = loss(share) <= most
    return torch.where(kept[:, None], weights - share[:, None] * step, weights)
