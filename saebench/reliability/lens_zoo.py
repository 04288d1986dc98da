"""Lenses on trained SAEs: noise of the random stages, smallest difference, ground truth, architectures."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, pairwise
from statistics import mean, median, stdev

from saebench.compare.contrasts import Contrast
from saebench.record.columns import Column
from saebench.record.score import Score
from saebench.record.wording import number
from saebench.reliability.reliability import Cells, Data, Finding, Tested, corrected, unrelated
from saebench.stats.statistics import DETECTABLE, DETECTED, NORMAL
from saebench.stats.trends import separation, spearman, spearman_interval

MOST_CV = 0.05
"""Largest coefficient of variation over repetitions of the random stages."""
SMALL = 0.25
"""A repetition's deviation below this share of the interval's half-width does not matter beside it."""
FEWEST_SEEDS = 3
FEWEST_SAES = 6
MATCHED_L0 = 16.0
F1, ABSORBED = ("best latents' F1", "known F1"), ("absorbed letters", "known absorption")
TRUTHS = {
    "reconstruction.fvu": (("FVU",), 1), "reconstruction.cosine": (("FVU",), -1),
    "reconstruction.dead": (("dead latents",), 1),
    "first_letter.f1": (F1, 1), "first_letter.split_f1": (F1, 1), "first_letter.k_sparse_f1": (F1, 1),
    "first_letter.precision": (F1[1:], 1), "first_letter.recall": (F1[1:], 1), "first_letter.f1_gap": (F1, -1),
    "marginal_structure.first_letter_f1": (F1, 1), "marginal_structure.k_sparse_f1": (F1, 1),
    **{f"absorption.{name}": (ABSORBED, 1) for name in (
        "suppression_ratio", "full_rate_0_6_0", "fraction_0_6_0", "fraction_0_3_2", "causal_rate", "recall_hole")},
}  # fmt: skip
"""What is known of an SAE that a property should agree with, in whatever words, and the sign of the agreement."""


def reseed(data: Data) -> dict[Column, Finding]:
    return {column: _reseed(data.repeats.get(column, {})) for column in data.columns}


def _reseed(repeats: Mapping[str, Sequence[Score]]) -> Finding:
    unsure, noises = [], []
    for sae, scores in repeats.items():
        found = [score for score in scores if score.value is not None]
        if 0 < len(found) < len(scores):
            unsure.append(f"{sae} has a score in {len(found)} of {len(scores)} repetitions")
        elif len(found) >= FEWEST_SEEDS:
            noises.append(_noise(found))
    if unsure:
        return Finding("fails", "; ".join(unsure))
    if not noises:
        return Finding("not evaluable", f"no SAE is scored in {FEWEST_SEEDS} repetitions")
    failed, cv, share = max((cv > MOST_CV and share >= SMALL, cv, share) for cv, share in noises)
    if cv == 0:
        return Finding("passes", "no random stage")
    return Finding("fails" if failed else "passes", f"CV {cv:.2g}, {share:.2f} of ±")


def _noise(scores: Sequence[Score]) -> tuple[float, float]:
    """Standard deviation over repetitions, as shares of the mean and of the half-width."""
    values = [score.value or 0.0 for score in scores]
    half, middle, deviation = mean(score.half_width() or 0.0 for score in scores), abs(mean(values)), stdev(values)
    if deviation <= 1e-9 * max(map(abs, values)):
        return 0.0, 0.0
    return (deviation / middle if middle else math.inf), (deviation / half if half else math.inf)


def detectable(data: Data) -> dict[Column, Finding]:
    return {column: _detectable(data, column) for column in data.columns}


def _detectable(data: Data, column: Column) -> Finding:
    scores = _scored(data.zoo, column)
    if len(scores) < FEWEST_SAES:
        return Finding("not evaluable", f"{len(scores)} SAEs are scored, fewer than {FEWEST_SAES}")
    values = [score.value or 0.0 for score in scores.values()]
    unpaired = DETECTABLE * median((score.half_width() or 0.0) / NORMAL for score in scores.values())
    paired = _paired(list(scores.values()), data.compare)
    smallest, spread = unpaired if paired is None else paired, max(values) - min(values)
    spans = spread / smallest if smallest else math.inf
    text = "" if paired is None else f"{number(paired)} paired, "
    text += f"{number(unpaired)} unpaired; zoo spans {spans:.3g} times as much"
    return Finding("fails" if spread <= smallest else "passes", text)


def _paired(scores: Sequence[Score], compare: Callable[[Score, Score], Contrast]) -> float | None:
    """Median over pairs of SAEs of the difference that is detectable on the same items; None where few pairs have any."""
    found = [compare(*pair) for pair in combinations(scores, 2)]
    shared = [contrast.error for contrast in found if math.isfinite(contrast.freedom)]
    return DETECTED * median(shared) if 2 * len(shared) > len(found) else None


def truth(data: Data) -> dict[Column, Finding]:
    return corrected({column: unrelated(column) or _truth(data, column) for column in data.columns})


def _truth(data: Data, column: Column) -> Finding | Tested:
    if column.name not in TRUTHS:
        return Finding("not evaluable", "no truth is known")
    (fact, known), (_, sign), scored = truth_of(data, column), TRUTHS[column.name], data.zoo.get(column, {})
    if len(known) < FEWEST_SAES:
        return Finding("not evaluable", f"{len(known)} SAEs are scored, fewer than {FEWEST_SAES}")
    values, truths = [scored[sae].value or 0.0 for sae in known], [sign * data.truth[sae][fact] for sae in known]
    (rho, p), (low, high) = spearman(values, truths), spearman_interval(values, truths)
    return Tested(f"ρ {rho:.2f} [{low:.2f}, {high:.2f}] with the {fact}, {len(known)} SAEs", p)


def truth_of(data: Data, column: Column) -> tuple[str, list[str]]:
    """What is known that a property should agree with, and the scored SAEs of which it is."""
    facts, _ = TRUTHS.get(column.name, ((), 0))
    scored = _scored(data.zoo, column)
    found = [(fact, [sae for sae in scored if fact in data.truth.get(sae, {})]) for fact in facts]
    return max(found, key=lambda one: len(one[1]), default=("", []))


def architectures(data: Data) -> dict[Column, Finding]:
    return corrected({column: _architectures(data, column) for column in data.columns})


def _architectures(data: Data, column: Column) -> Finding | Tested:
    curves: dict[tuple[str, str], list[Score]] = {}
    for name, score in _scored(data.architectures, column).items():
        if score.l0 is not None and score.architecture:
            curves.setdefault((score.architecture, re.sub(r"/l0-[^/]+", "", name)), []).append(score)
    groups: dict[str, list[float]] = {}
    for (architecture, _), scores in curves.items():
        if (value := at_l0(scores, MATCHED_L0)) is not None:
            groups.setdefault(architecture, []).append(value)
    seeded = {name: values for name, values in groups.items() if len(values) > 1}
    if len(seeded) < 2:
        return Finding("not evaluable", f"{len(seeded)} architectures have two training seeds at L0 {MATCHED_L0:.0f}")
    ratio, p = separation(list(seeded.values()))
    return Tested(f"{ratio:.3g} × seeds, {len(seeded)} architectures", p)


def at_l0(scores: Sequence[Score], l0: float) -> float | None:
    """Value at an L0, between its neighbours on a logarithmic scale; None where the L0 lies outside of all."""
    points = sorted((math.log(score.l0), score.value or 0.0) for score in scores if score.l0)
    for (low, below), (high, above) in pairwise(points):
        if low <= math.log(l0) <= high:
            share = (math.log(l0) - low) / (high - low) if high > low else 0.0
            return below + share * (above - below)
    return None


def _scored(cells: Cells, column: Column) -> dict[str, Score]:
    return {sae: score for sae, score in cells.get(column, {}).items() if score.value is not None}
