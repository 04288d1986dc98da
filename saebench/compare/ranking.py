"""Which SAEs of a column are better than which, as far as noise lets one say."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal, TypeAlias

from saebench.compare import differences
from saebench.compare.contrasts import Compare, unpaired
from saebench.record.score import Score

FALSE_RANKS = 0.05
"""Chance that a column without any differences shows one."""
Standing: TypeAlias = Literal["beyond", "at floor", "below floor"]


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
    found = Counter[str]()
    for score, times in zip(useful, compare.beaten(useful, FALSE_RANKS), strict=True):
        found[score.sae] += times
    return {name: 1 + times for name, times in found.items()}


def against_floor(score: Score) -> Standing:
    """Where the interval lies; `beyond` where there is no floor."""
    if score.better == "neither" or score.floor is None or score.ci_low is None or score.ci_high is None:
        return "beyond"
    sign = 1 if score.better == "higher" else -1
    worst, best = sorted(sign * (end - score.floor) for end in (score.ci_low, score.ci_high))
    return "beyond" if worst > 0 else "below floor" if best < 0 else "at floor"
