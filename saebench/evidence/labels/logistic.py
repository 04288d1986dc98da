"""Many small logistic regressions at once, by Newton's method: as scikit-learn's, one for each data set and strength."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from jaxtyping import Float

if TYPE_CHECKING:
    from torch import Tensor

ITERATIONS = 60
"""Most steps of Newton's method."""
TOLERANCE = 1e-9
"""Of the gradient, per row, at which the weights stand still."""
HALVINGS = 12
"""Most times that a step is halved until the loss is less."""


def logistic(
    x: Float[Tensor, "set row k"],
    y: Float[Tensor, "set row"],
    counted: Float[Tensor, "set row"],
    strength: Float[Tensor, " set"],
) -> Float[Tensor, "set k1"]:
    """Weights and, last, the intercept of each set: least of C * sum of log-losses + half the squared weights.

    The intercept is not held back, as in scikit-learn's `LogisticRegression(C=strength)`. Rows with `counted` 0 are
    filling, since sets may be of different sizes. Computed in double precision.
    """
    import torch

    features = torch.cat([x.double(), torch.ones_like(x[..., :1], dtype=torch.float64)], dim=-1)
    y, counted, strength = y.double(), counted.double(), strength.double()
    penalty = torch.ones(features.shape[-1], dtype=torch.float64)
    penalty[-1] = 0.0
    weights = features.new_zeros(features.shape[0], features.shape[-1])
    weight_of = strength[:, None] * counted

    def loss(weights: Tensor) -> Tensor:
        logits = torch.einsum("snk,sk->sn", features, weights)
        entropy = torch.nn.functional.softplus(logits) - y * logits
        return (weight_of * entropy).sum(1) + 0.5 * (penalty * weights.square()).sum(1)

    now = loss(weights)
    for _ in range(ITERATIONS):
        step, gradient = _newton(features, y, weight_of, penalty, weights)
        if bool((gradient.abs().amax(1) <= TOLERANCE * (1 + weight_of.sum(1))).all()):
            break
        weights, now = _no_worse(loss, weights, now, step)
    return weights


def _newton(features: Tensor, y: Tensor, weight_of: Tensor, penalty: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Step (set, k) and gradient (set, k)."""
    import torch

    said = torch.sigmoid(torch.einsum("snk,sk->sn", features, weights))
    gradient = torch.einsum("snk,sn->sk", features, weight_of * (said - y)) + penalty * weights
    curved = features * (weight_of * said * (1 - said))[..., None]
    hessian = torch.einsum("snk,snj->skj", curved, features) + torch.diag(penalty + 1e-10)
    return torch.linalg.solve(hessian, gradient[..., None])[..., 0], gradient


def _no_worse(loss: Callable[[Tensor], Tensor], weights: Tensor, now: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """The weights after the step, or as much of it as makes the loss of a set no greater."""
    import torch

    share = torch.ones_like(now)
    for _ in range(HALVINGS):
        after = weights - share[:, None] * step
        then = loss(after)
        worse = ~(then <= now)
        if not bool(worse.any()):
            return after, then
        share = torch.where(worse, share / 2, share)
    kept = then <= now
    return torch.where(kept[:, None], after, weights), torch.where(kept, then, now)
