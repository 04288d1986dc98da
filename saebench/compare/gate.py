"""Is a score worse than its baseline by more than the tolerance allows and by more than noise explains?"""

import math
from dataclasses import dataclass
from typing import Literal

from saebench.compare.at_l0 import Matched
from saebench.compare.baseline import Baseline, changed
from saebench.compare.differences import Difference, computable, unpaired
from saebench.record.score import Score
from saebench.record.store import Store
from saebench.record.wording import number

Verdict = Literal["ok", "worse", "better", "new", "incomparable", "unscored"]
FALSE_ALARMS = 0.05
"""How often a run of comparisons without any change may come out red: the level of the whole family."""


@dataclass(frozen=True)
class Comparison:
    """A verdict and the numbers behind it; the numbers are None where two values could not be compared."""

    verdict: Verdict
    tolerance: float
    reason: str = ""
    """Why there is no comparison, in words; empty where there is one."""
    baseline: float | None = None
    difference: Difference | None = None
    """Positive means worse. For a property without direction: score minus baseline."""
    by_chance: bool = False
    """Worse by its own interval, but no more than one of so many comparisons is by chance."""
    damaged: bool = False
    """Incomparable because items of the score or of its baseline are damaged."""


def compare(
    score: Score, baseline: Score | None, tolerance: float, difference: Difference | None = None, family: int = 1
) -> Comparison:
    """Compare a score with its baseline.

    `worse` needs all of three: the difference exceeds the tolerance, so does its whole 95% interval, and it would at
    the level of a family of so many comparisons (Bonferroni, which is the first step of Holm's procedure and the only
    one that can be taken while other scores are still to come). `difference` is score minus baseline, paired where
    that was possible; without it the two are taken as independent.
    """
    if not 0 <= tolerance < math.inf:
        raise ValueError(f"the tolerance of {score.property} is {tolerance}; it must be 0 or more")
    if score.value is None:
        return Comparison("unscored", tolerance, score.unscored_reason or "")
    if baseline is None:
        return Comparison("new", tolerance, "no baseline")
    if baseline.value is None:
        return Comparison("incomparable", tolerance, f"the baseline is unscored: {baseline.unscored_reason}")
    if other := changed(score, baseline):
        return Comparison("incomparable", tolerance, f"the baseline has another {other}", baseline.value)
    found = difference or unpaired(score, baseline)
    if not (found.known and computable(score) and computable(baseline)):
        return Comparison("incomparable", tolerance, "the difference cannot be computed", baseline.value)
    worse = found.turned() if score.better == "higher" else found
    if score.better == "neither":
        return Comparison("ok", tolerance, "", baseline.value, worse)
    # 0.312 - 0.292 is a little more than 0.020 in binary: what rounding adds is not a regression.
    limit = tolerance + 1e-9 * max(abs(score.value), abs(baseline.value))
    beyond, clearly = _beyond(worse, limit, family)
    better, clearly_better = _beyond(worse.turned(), limit, family)
    verdict: Verdict = "worse" if beyond and clearly else "better" if better and clearly_better else "ok"
    return Comparison(verdict, tolerance, "", baseline.value, worse, by_chance=beyond and not clearly)


def held_against(
    baseline: Baseline | Matched, score: Score, store: Store, tolerance: float, family: int = 1
) -> tuple[Score | None, Comparison]:
    """The row of a baseline that a score is compared with, and what comes out; `store` has the score's items."""
    row = baseline.find(score)
    if row is None or row.value is None or score.value is None or changed(score, row):
        return row, compare(score, row, tolerance)
    try:
        difference = baseline.difference(score, row, store)
    except ValueError as damaged:
        return row, Comparison("incomparable", tolerance, str(damaged), row.value, damaged=True)
    return row, compare(score, row, tolerance, difference, family)


def _beyond(worse: Difference, limit: float, family: int) -> tuple[bool, bool]:
    """Whether its own interval exceeds the limit, and whether it does among so many."""
    return worse.ci_low > limit, worse.p_above(limit) * family <= FALSE_ALARMS


def message(score: Score, comparison: Comparison) -> str:
    """One line that says what was compared and what came out."""
    name = f"{score.property}[{score.sae}]"
    if score.value is None or comparison.baseline is None or comparison.difference is None:
        value = "" if score.value is None else f" = {number(score.value)}"
        return f"{name}{value}: {comparison.verdict}, {comparison.reason}"
    left = f"{name} = {number(score.value)}, baseline {number(comparison.baseline)}"
    found = comparison.difference
    pairs = f"paired over {found.n} {score.n_unit}s" if found.paired else "unpaired"
    return f"{left}: {_difference(score, found)}, allowed {number(comparison.tolerance)}, {pairs}"


def _difference(score: Score, found: Difference) -> str:
    like = score.value or 0.0
    value, low, high = found.value, found.ci_low, found.ci_high
    if score.better == "neither" or value == 0:
        return f"differs by {number(value, like)} [{number(low, like)}, {number(high, like)}]"
    if value < 0:
        return f"better by {number(-value, like)} [{number(-high, like)}, {number(-low, like)}]"
    return f"worse by {number(value, like)} [{number(low, like)}, {number(high, like)}]"
