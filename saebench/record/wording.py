"""Numbers as they are written everywhere, in the terminal, in Markdown and in pictures."""

import math
import re

MANY = 1e9
"""A number of that size is written with three digits and its power of ten."""


def number(value: float, like: float = 0.0) -> str:
    """Three decimals, or three digits where decimals would show nothing: how scores are written everywhere.

    Thousands have no decimals, nor has a `value` that stands beside a number of that size, `like`.
    """
    if not abs(value) < MANY:
        return f"{value:.3g}"
    if max(abs(value), abs(like)) >= 1000:
        return f"{value:.0f}"
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.0095 else f"{value:.3g}"


def tenths(value: float) -> str:
    """`16.0`: how an L0 is written."""
    return f"{value:.1f}" if abs(value) < MANY else number(value)


def with_interval(value: float, half: float) -> str:
    """`0.412 ±0.038`: a value to the digits that its interval's half width leaves, of which two are shown."""
    if not max(abs(value), abs(half)) < MANY:
        return f"{value:.3g} ±{half:.2g}"
    decimals = max(0, 1 - math.floor(math.log10(half))) if half > 1e-6 else 3
    return f"{value:.{decimals}f} ±{half:.{decimals}f}"


DASH = "—"
NUMBER = re.compile(r"(?<![\w.-])[+-]?\d+(?:,\d{3})*(?:\.\d+)?(?!\w|\.\d)")
