"""Is a score worse than its baseline by more than the tolerance allows and by more than noise explains?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from saebench.naming import nearest
from saebench.score import Score
from saebench.store import Store

Verdict = Literal["ok", "worse", "better", "new", "incomparable", "unscored"]


@dataclass(frozen=True)
class Comparison:
    """A verdict and the numbers behind it; the numbers are None where two values could not be compared."""

    verdict: Verdict
    tolerance: float
    reason: str = ""
    """Why there is no comparison, in words; empty where there is one."""
    baseline: float | None = None
    difference: float | None = None
    """Positive means worse. For a property without direction: score minus baseline."""
    ci_low: float | None = None
    ci_high: float | None = None


def compare(score: Score, baseline: Score | None, tolerance: float) -> Comparison:
    """Compare a score with its baseline: `worse` only if the whole interval of the difference exceeds the tolerance.

    The interval is unpaired: the two scores' 95% half-widths are added in quadrature, as for independent normal
    estimates. Two SAEs measured on the same texts have correlated errors, so this one is wider than needed; a
    paired comparison needs the per-item values of both and is not done here.
    """
    if not tolerance >= 0:
        raise ValueError(f"the tolerance of {score.property} is {tolerance}; it must be 0 or more")
    if score.value is None:
        return Comparison("unscored", tolerance, score.unscored_reason or "")
    if baseline is None:
        return Comparison("new", tolerance, "no baseline")
    if baseline.value is None:
        return Comparison("incomparable", tolerance, f"the baseline is unscored: {baseline.unscored_reason}")
    if changed := _changed(score, baseline):
        return Comparison("incomparable", tolerance, f"the baseline has another {changed}", baseline.value)
    return _compared(score.value, baseline.value, _noise(score, baseline), score, tolerance)


def message(score: Score, comparison: Comparison) -> str:
    """One line that says what was compared and what came out."""
    name = f"{score.property}[{score.sae}]"
    if score.value is None or comparison.baseline is None or comparison.difference is None:
        value = "" if score.value is None else f" = {number(score.value)}"
        return f"{name}{value}: {comparison.verdict}, {comparison.reason}"
    left = f"{name} = {number(score.value)}, baseline {number(comparison.baseline)}"
    return f"{left}: {_difference(score, comparison)}, allowed {number(comparison.tolerance)}"


def find_baseline(score: Score, baseline: Sequence[Score]) -> Score | None:
    """Return the row to compare with: same property, parameters and SAE name, the last one if several.

    If all rows are of one SAE (a file with one, or `FILE:row`), that SAE is the baseline for every SAE. A row
    of the same version, model and corpus wins over a later one that could not be compared.
    """
    alone = len({row.sae for row in baseline}) == 1
    rows = [row for row in baseline if row.property == score.property and row.params == score.params]
    rows = [row for row in rows if alone or row.sae == score.sae]
    comparable = [row for row in rows if not _changed(score, row)]
    return next(reversed(comparable or rows), None)


def read_baseline(argument: str) -> list[Score]:
    """Read `FILE` or `FILE:row`, where row is the name of an SAE in that file; newest scores only."""
    # Names of SAEs may hold colons, so each colon is tried as the border.
    borders = [len(argument), *(i for i, char in enumerate(argument) if char == ":")]
    for path, row in ((Path(argument[:i]), argument[i + 1 :]) for i in borders):
        if path.is_file():
            return _rows(path, row)
    path = Path(argument)
    siblings = [str(p) for p in path.parent.glob("*.jsonl")] if path.parent.is_dir() else []
    raise ValueError(f"{argument}: no such file of scores.{nearest(str(path), siblings)}")


def number(value: float, like: float = 0.0) -> str:
    """Three decimals, or three digits where decimals would show nothing: how scores are written everywhere.

    Thousands have no decimals, nor has a `value` that stands beside a number of that size, `like`.
    """
    if max(abs(value), abs(like)) >= 1000:
        return f"{value:.0f}"
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.0095 else f"{value:.3g}"


def with_interval(value: float, half: float) -> str:
    """`0.412 ±0.038`: a value to the digits that its interval's half width leaves, of which two are shown."""
    decimals = max(0, 1 - math.floor(math.log10(half))) if half > 1e-6 else 3
    return f"{value:.{decimals}f} ±{half:.{decimals}f}"


def _rows(path: Path, row: str) -> list[Score]:
    scores = list(Store(path).newest().values())
    if not scores:
        raise ValueError(f"{path} holds no scores")
    names = list(dict.fromkeys(score.sae for score in scores))
    if row and row not in names:
        known = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise ValueError(f"{path} has no row '{row}'.{nearest(row, names)} Known: {known}")
    return [score for score in scores if not row or score.sae == row]


def _changed(score: Score, baseline: Score) -> str:
    """Name what differs between two measurements, apart from the SAE; empty if they can be compared."""
    for field in ("property", "version", "params", "corpus", "model_digest", "better", "unit"):
        old, new = getattr(baseline, field), getattr(score, field)
        if old != new:
            return f"{field.removesuffix('_digest')} ({old}, here {new})"
    return ""


def _noise(score: Score, baseline: Score) -> float:
    return math.hypot(score.half_width() or 0.0, baseline.half_width() or 0.0)


def _compared(value: float, baseline: float, noise: float, score: Score, tolerance: float) -> Comparison:
    difference = baseline - value if score.better == "higher" else value - baseline
    low, high = difference - noise, difference + noise
    # 0.312 - 0.292 is a little more than 0.020 in binary: what rounding adds is not a regression.
    limit = tolerance + 1e-9 * max(abs(value), abs(baseline))
    verdict: Verdict = "ok"
    if score.better != "neither":
        verdict = "worse" if low > limit else "better" if high < -limit else "ok"
    return Comparison(verdict, tolerance, "", baseline, difference, low, high)


def _difference(score: Score, comparison: Comparison) -> str:
    like = score.value or 0.0
    difference, low, high = comparison.difference or 0.0, comparison.ci_low or 0.0, comparison.ci_high or 0.0
    if score.better == "neither" or difference == 0:
        return f"differs by {number(difference, like)} [{number(low, like)}, {number(high, like)}]"
    if difference < 0:
        return f"better by {number(-difference, like)} [{number(-high, like)}, {number(-low, like)}]"
    return f"worse by {number(difference, like)} [{number(low, like)}, {number(high, like)}]"
