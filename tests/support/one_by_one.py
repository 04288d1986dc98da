"""Ranks as they are defined, pair by pair: what `saebench.compare.pairwise` does in blocks."""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

from saebench.compare.contrasts import Compare, Contrast
from saebench.compare.ranking import FALSE_RANKS, against_floor
from saebench.record.score import Score
from saebench.stats.multiple import holm


def ranks(useful: Sequence[Score], compare: Compare) -> dict[str, int]:
    """Of scores that can all be ranked."""
    assert all(against_floor(score) == "beyond" for score in useful)
    pairs = list(combinations(useful, 2))
    leads = [lead(first, second, compare) for first, second in pairs]
    adjusted = holm([two_sided(found) for found in leads])
    beaten = Counter(
        (second if found.value > 0 else first).sae
        for (first, second), found, p in zip(pairs, leads, adjusted, strict=True)
        if p < FALSE_RANKS
    )
    return {score.sae: 1 + beaten[score.sae] for score in useful}


def lead(first: Score, second: Score, compare: Compare) -> Contrast:
    """By how much the first is better, where nothing is better than the ceiling."""
    found = compare(first, second)
    sign = 1 if first.better == "higher" else -1
    value = sign * found.value - _excess(first, sign) + _excess(second, sign)
    tiny = 1e-12 * max(abs(first.value or 0.0), abs(second.value or 0.0))
    return found._replace(value=value if abs(value) > tiny else 0.0)


def _excess(score: Score, sign: int) -> float:
    return max(0.0, sign * ((score.value or 0.0) - score.ceiling)) if score.ceiling is not None else 0.0


def two_sided(contrast: Contrast) -> float:
    if contrast.value == 0 or contrast.error <= 0:
        return float(contrast.value == 0)
    z, nu = abs(contrast.value) / contrast.error, contrast.freedom
    if math.isfinite(nu):
        z = (8 * nu + 1) / (8 * nu + 3) * math.sqrt(nu * math.log1p(z * z / nu))
    return math.erfc(z / math.sqrt(2))
