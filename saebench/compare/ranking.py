"""Which SAEs of a column are better than which, as far as noise lets one say."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Literal, NamedTuple, TypeAlias

from saebench.compare import differences
from saebench.record.score import Score
from saebench.record.store import Store
from saebench.stats.multiple import holm

FALSE_RANKS = 0.05
"""Chance that a column without any differences shows one."""
Standing: TypeAlias = Literal["beyond", "at floor", "below floor"]


class Contrast(NamedTuple):
    """One score minus another."""

    value: float
    error: float
    """Standard error."""
    freedom: float = math.inf
    """Degrees of freedom of the error: pairs - 1, or infinite where the two are not paired."""


Compare = Callable[[Score, Score], Contrast]


def unpaired(score: Score, other: Score) -> Contrast:
    """As for independent measurements: wider than needed where both were measured on the same texts."""
    found = differences.unpaired(score, other)
    return Contrast(found.value, found.error)


def paired_by(store: Store) -> Compare:
    """Compare by the items that two scores of a store share, and as independent measurements where they share too few."""
    known: dict[str | None, differences.Items] = {None: {}}

    def items(score: Score) -> differences.Items:
        if score.items not in known:
            found = differences.loaded(store.load_items, score) or {}
            known[score.items] = {name: found[name] for name in ("item", "contribution") if name in found}
        return known[score.items]

    def compare(score: Score, other: Score) -> Contrast:
        found = differences.shared(score, other, items(score), items(other))
        return Contrast(found.value, found.error, len(found.each) - 1) if found else unpaired(score, other)

    return compare


def ranks(scores: Sequence[Score], compare: Compare = unpaired) -> dict[str, int]:
    """Map the SAEs of one column that can be ranked to 1 + how many are clearly better.

    Those that noise cannot tell apart may share a rank. Clearly better means that the difference is beyond noise at a
    level of 5% for all pairs of the column together (Holm). A value beyond the ceiling counts as the ceiling.
    No rank have controls, the unscored, numbers that cannot be computed with, and an SAE whose interval reaches the
    floor, which is what a useless SAE gets.
    Empty for properties without direction, and where fewer than two SAEs are scored.
    """
    scored = [score for score in scores if differences.computable(score) and not score.control]
    if len(scored) < 2 or scored[0].better == "neither":
        return {}
    useful = [score for score in scored if against_floor(score) == "beyond"]
    pairs = list(combinations(useful, 2))
    leads = [_lead(first, second, compare) for first, second in pairs]
    adjusted = holm([_two_sided(lead) for lead in leads])
    beaten = Counter(
        (second if lead.value > 0 else first).sae
        for (first, second), lead, p in zip(pairs, leads, adjusted, strict=True)
        if p < FALSE_RANKS
    )
    return {score.sae: 1 + beaten[score.sae] for score in useful}


def against_floor(score: Score) -> Standing:
    """Where the interval lies; `beyond` where there is no floor."""
    if score.better == "neither" or score.floor is None or score.ci_low is None or score.ci_high is None:
        return "beyond"
    sign = 1 if score.better == "higher" else -1
    worst, best = sorted(sign * (end - score.floor) for end in (score.ci_low, score.ci_high))
    return "beyond" if worst > 0 else "below floor" if best < 0 else "at floor"


def _lead(first: Score, second: Score, compare: Compare) -> Contrast:
    """By how much the first is better, where nothing is better than the ceiling."""
    found = compare(first, second)
    sign = 1 if first.better == "higher" else -1
    lead = sign * found.value - _excess(first, sign) + _excess(second, sign)
    # What rounding leaves of two values at the ceiling is no difference.
    tiny = 1e-12 * max(abs(first.value or 0.0), abs(second.value or 0.0))
    return found._replace(value=lead if abs(lead) > tiny else 0.0)


def _excess(score: Score, sign: int) -> float:
    return max(0.0, sign * ((score.value or 0.0) - score.ceiling)) if score.ceiling is not None else 0.0


def _two_sided(contrast: Contrast) -> float:
    """p-value of a difference. Student's t by Wallace's approximation (1959), since scipy takes long to import."""
    if contrast.value == 0 or contrast.error <= 0:
        return float(contrast.value == 0)
    z, nu = abs(contrast.value) / contrast.error, contrast.freedom
    if math.isfinite(nu):
        z = (8 * nu + 1) / (8 * nu + 3) * math.sqrt(nu * math.log1p(z * z / nu))
    return math.erfc(z / math.sqrt(2))
