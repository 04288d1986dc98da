"""Ways to move an activation along a direction: a rotation that keeps its norm, and a step of a given size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Float

if TYPE_CHECKING:
    from torch import Tensor

ROUNDING = 1e-5
"""Share of a direction that is not told from an error of single precision."""


def rotated(
    x: Float[Tensor, " d"], directions: Float[Tensor, "direction d"], angles: Float[Tensor, " angle"]
) -> Float[Tensor, "direction angle d"]:
    """(direction, angle, d): x (d,) turned towards each direction (direction, d) by angles (angle,) in radians.

    Both are centred over d first, since layer norms do not see the mean, and the mean of x is put back. The norm of
    the centred activation stays; only the part of a direction that is orthogonal to it counts. A direction without
    such a part moves nothing but along x itself.
    """
    import torch

    mean = x.mean()
    centred = x - mean
    unit = centred / centred.norm().clamp(min=1e-30)
    aside = directions - directions.mean(dim=1, keepdim=True)
    aside = aside - (aside @ unit)[:, None] * unit
    length = aside.norm(dim=1, keepdim=True)
    aside = torch.where(length > ROUNDING * directions.norm(dim=1, keepdim=True), aside / length, 0.0)
    turned = angles.cos()[:, None] * unit + angles.sin()[:, None] * aside[:, None]
    return mean + centred.norm() * turned  # type: ignore[no-any-return]


def stepped(
    x: Float[Tensor, " d"], directions: Float[Tensor, "direction d"], sizes: Float[Tensor, "direction step"]
) -> Float[Tensor, "direction step d"]:
    """(direction, step, d): x (d,) plus steps of sizes (direction, step) along each direction (direction, d)."""
    unit = directions / directions.norm(dim=1, keepdim=True).clamp(min=1e-30)
    return x + sizes[:, :, None] * unit[:, None]  # type: ignore[no-any-return]
