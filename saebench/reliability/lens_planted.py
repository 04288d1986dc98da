"""Lenses on SAEs that are known to be worse, or better: is the order of quality kept, and does every dose show?"""

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import factorial, prod
from statistics import mean
from typing import NamedTuple

from saebench.compare.contrasts import Compare
from saebench.record.columns import Column
from saebench.record.score import Score
from saebench.reliability.reliability import FALSE_FINDINGS, Data, Finding, Standing, Tested, corrected, unrelated
from saebench.stats.trends import ROUNDED_SHARE, Trend, trend

FEWEST_LEVELS = 3
FEWEST_BASES = 2
UNREAD = 0.01
"""Damage that moves a score by less than this share of its half-width moves nothing that the property reads."""
ORDER = {"oracle": "oracle", "trained": "", "degraded": "replaced_50", "random": "random_l0"}
"""From best to worst, and the control behind `~` that stands for each."""


def ordering(data: Data) -> dict[Column, Finding]:
    return corrected({column: unrelated(column) or _ordering(data, column) for column in data.columns})


def _ordering(data: Data, column: Column) -> Finding | Tested:
    blocks = [_levels(data, column, base) for base in data.bases]
    levels = [name for name in ORDER if sum(name in block for block in blocks) >= FEWEST_BASES]
    blocks = [{name: block[name] for name in levels} for block in blocks if all(name in block for name in levels)]
    if len(levels) < FEWEST_LEVELS or len(blocks) < FEWEST_BASES:
        return Finding("not evaluable", f"scored of four levels: {', '.join(levels) or 'none'}")
    kept = sum(_falls([*map(_goodness, block.values())]) for block in blocks)
    steps = _steps(blocks, levels, data.compare)
    text = f"{' > '.join(levels)} in {kept} of {len(blocks)} SAEs"
    # All neighbours have to be told apart, so that the least certain pair speaks for the chain.
    return Tested(text, max(step.p for step in steps), _reversed(steps))


def _levels(data: Data, column: Column, base: str) -> dict[str, Score]:
    """Scores of what is made from one SAE, from best to worst, where there are any."""
    planted = data.planted.get(column, {})
    # The truth does not depend on the SAE whose oracle it is.
    oracle = next((score for name, score in planted.items() if name.endswith("~oracle")), None)
    found = {name: planted.get(f"{base}~{control}") for name, control in ORDER.items() if control}
    found |= {"oracle": oracle, "trained": data.trained(column, base)}
    return {name: score for name in ORDER if (score := found[name]) is not None and score.value is not None}


def dose(data: Data) -> dict[Column, Finding]:
    return {column: unrelated(column) or _dose(data, column) for column in data.columns}


def _dose(data: Data, column: Column) -> Finding:
    said: dict[str, str] = {}
    failed, falls = list[str](), list[str]()
    for kind in ("replaced", "noise"):
        blocks = [block for base in data.bases if len(block := _doses(data, column, base, kind)) >= FEWEST_LEVELS]
        # Where even a perfect trend would not show, there is nothing to judge.
        if prod(1 / factorial(len(block)) for block in blocks) > FALSE_FINDINGS:
            said[kind] = f"{kind}: too few doses are scored"
        elif all(map(_unmoved, blocks)):
            said[kind] = f"{kind}: not read"
        else:
            found = trend([[*map(_goodness, block.values())] for block in blocks])
            wrong = _wrong_dose(found, blocks, data.compare)
            said[kind] = f"{kind}: τ {found.tau:.2f}, p {found.p_falls:.2g}{f', {wrong}' if wrong else ''}"
            (failed if wrong else falls).append(kind)
    unread = not falls and said["replaced"].endswith("not read")
    verdict: Standing = "fails" if failed or unread else "passes" if falls else "not evaluable"
    return Finding(verdict, "; ".join(said.values()))


def _wrong_dose(found: Trend, blocks: Sequence[Mapping[str, Score]], compare: Compare) -> str:
    if found.p_rises <= FALSE_FINDINGS:
        return "improves with damage"
    doses = sorted({dose for block in blocks for dose in block}, key=int)
    return _reversed(_steps(blocks, doses, compare)) or ("flat" if found.p_falls > FALSE_FINDINGS else "")


def _doses(data: Data, column: Column, base: str, kind: str) -> dict[str, Score]:
    """Scores by percent of damage, where there are any; 0 is the SAE itself."""
    found = {"0": data.trained(column, base)}
    for name, score in data.planted.get(column, {}).items():
        if match := re.fullmatch(rf"{re.escape(base)}~{kind}_(\d+)", name):
            found[match[1]] = score
    scored = {dose: score for dose, score in found.items() if score is not None and score.value is not None}
    return dict(sorted(scored.items(), key=lambda entry: int(entry[0]))) if "0" in scored else {}


def _unmoved(block: Mapping[str, Score]) -> bool:
    first = block["0"]
    limit = UNREAD * (first.half_width() or 0.0)
    return all(abs((score.value or 0.0) - (first.value or 0.0)) <= limit for score in block.values())


class Step(NamedTuple):
    """Two neighbours in an order of quality."""

    upper: str
    lower: str
    p: float
    """One-sided p-value of the upper one being no better."""


def _steps(blocks: Sequence[Mapping[str, Score]], levels: Sequence[str], compare: Compare) -> list[Step]:
    """Compare neighbours, paired where they share their items, on average over blocks.

    Errors are added as if they were the same in all blocks: blocks are measured on the same texts, and share controls.
    """
    found = []
    for upper, lower in pairwise(levels):
        both = [(block[upper], block[lower]) for block in blocks if upper in block and lower in block]
        if both:
            gap = mean(_goodness(a) - _goodness(b) for a, b in both)
            error = mean(compare(a, b).error for a, b in both)
            found.append(Step(upper, lower, _p_above(gap, max(error, ROUNDED_SHARE * abs(_goodness(both[0][0]))))))
    return found


def _p_above(value: float, error: float) -> float:
    """One-sided p-value of a normal estimate."""
    return 0.5 * math.erfc(value / error / math.sqrt(2)) if error else 0.5


def _reversed(steps: Sequence[Step]) -> str:
    return "; ".join(f"{step.lower} above {step.upper}" for step in steps if step.p > 1 - FALSE_FINDINGS / 2)


def _falls(values: Sequence[float]) -> bool:
    return all(first > second for first, second in pairwise(values))


def _goodness(score: Score) -> float:
    """The value, turned so that more is better; beyond the ceiling there is nothing better."""
    sign = 1 if score.better == "higher" else -1
    value = sign * (score.value or 0.0)
    return value if score.ceiling is None else min(value, sign * score.ceiling)
