"""What a response curve says: how soon the model reacts to a move, and in what shape."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from saebench.stats.statistics import Floats

FLAT = 0.1
"""Up to this share of its own maximum, a curve is on its plateau."""


def reached(
    steps: Float[np.ndarray, " step"], response: Float[np.ndarray, "*curve step"], level: Float[np.ndarray, "*curve"]
) -> Float[np.ndarray, "*curve"]:
    """Step (...,) at which a response (..., step) first reaches a level (...,); infinite where it never does.

    Interpolated between steps on logarithmic scales, on which small responses are straight; the response at step 0 is
    0. NaN where the response is not known.
    """
    known = np.isfinite(response).all(axis=-1) & np.isfinite(level) & (np.asarray(level) > 0)
    above = response >= np.asarray(level)[..., None]
    first = above.argmax(axis=-1)
    after = np.take_along_axis(response, first[..., None], -1)[..., 0]
    before = np.take_along_axis(response, np.maximum(first - 1, 0)[..., None], -1)[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.log(level / before) / np.log(after / before)
        share = np.where(np.isfinite(share), np.clip(share, 0.0, 1.0), 1.0)
        between = np.exp(np.log(steps[np.maximum(first - 1, 0)]) * (1 - share) + np.log(steps[first]) * share)
        # A response that is there at the first step is taken to have grown with the square of the step.
        within = steps[0] * np.sqrt(np.where(after > 0, level / after, 1.0))
    found = np.where(first == 0, within, between)
    return np.where(known, np.where(above.any(axis=-1), found, np.inf), np.nan)


def sensitivity(
    steps: Float[np.ndarray, " step"], response: Float[np.ndarray, "*curve step"], level: Float[np.ndarray, "*curve"]
) -> Float[np.ndarray, "*curve"]:
    """1 / step at which the response reaches the level (...,); 0 where it never does."""
    with np.errstate(divide="ignore"):
        return np.asarray(1.0 / reached(steps, response, level))


def amplitude(response: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Square root of a KL, which grows in proportion to a step as long as the model responds linearly."""
    return np.asarray(np.sqrt(np.maximum(response, 0.0)))


def plateau(
    steps: Float[np.ndarray, " step"], response: Float[np.ndarray, "*curve step"]
) -> Float[np.ndarray, "*curve"]:
    """Share (...,) of the longest step before the amplitude exceeds a tenth of its maximum (Janiak et al., LASR 2024).

    A tenth of the way where the response is linear; 1 where there is none.
    """
    height = amplitude(response)
    top = height.max(axis=-1)
    shape = np.concatenate([np.zeros((*height.shape[:-1], 1)), height], axis=-1)
    at = np.concatenate([[0.0], steps])
    above = shape > FLAT * top[..., None]
    first = np.maximum(above.argmax(axis=-1), 1)
    after = np.take_along_axis(shape, first[..., None], -1)[..., 0]
    before = np.take_along_axis(shape, first[..., None] - 1, -1)[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.clip((FLAT * top - before) / (after - before), 0.0, 1.0)
    crossed = at[first - 1] + share * (at[first] - at[first - 1])
    return np.where(np.isnan(top), np.nan, np.where(top > 0, crossed / steps[-1], 1.0))


def convexity(
    steps: Float[np.ndarray, " step"], response: Float[np.ndarray, "*curve step"]
) -> Float[np.ndarray, "*curve"]:
    """Largest over end points x of 1 - area under the amplitude up to x / area of the triangle up to its value at x.

    0 if the response is linear, towards 1 if it is flat and then steep, negative if it slows down from the start. The
    convexity score of LASR's "Interim report on activation plateaus" (2024): noise suppression predicts more of it for
    features than for other directions. End points where the response is still on its plateau do not count.
    """
    height = np.concatenate([np.zeros((*response.shape[:-1], 1)), amplitude(response)], axis=-1)
    at = np.concatenate([[0.0], steps])
    area = np.cumsum(np.diff(at) * (height[..., 1:] + height[..., :-1]) / 2, axis=-1)[..., 1:]
    end, top = height[..., 2:], height.max(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.where(end > FLAT * top, 1 - area / (0.5 * at[2:] * end), -np.inf)
    best = each.max(axis=-1, initial=-np.inf)
    return np.where(np.isnan(top[..., 0]), np.nan, np.where(np.isfinite(best), best, 0.0))


def slope(steps: Float[np.ndarray, " step"], response: Float[np.ndarray, "*curve step"]) -> Float[np.ndarray, "*curve"]:
    """Largest increase of the amplitude per unit of step."""
    height = np.concatenate([np.zeros((*response.shape[:-1], 1)), amplitude(response)], axis=-1)
    return np.asarray((np.diff(height, axis=-1) / np.diff(np.concatenate([[0.0], steps]))).max(axis=-1))


SHAPES: dict[str, Callable[[Floats, Floats], Floats]] = {"plateau": plateau, "convexity": convexity, "slope": slope}
