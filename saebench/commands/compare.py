"""`saebench compare`: what differs between two scores files, score by score, paired where both have the items."""

import argparse
from collections.abc import Sequence

from saebench.commands import Commands, put, table, title
from saebench.compare.baseline import Baseline, read_baseline
from saebench.compare.differences import Difference
from saebench.compare.gate import FALSE_ALARMS, Comparison, held_against
from saebench.record.naming import shown
from saebench.record.score import Score
from saebench.record.wording import DASH, number, tenths
from saebench.stats.multiple import holm

Pair = tuple[Score, Score, Comparison]
HEADER = ["score", "A", "B", "B - A", "items", "B is"]


def add(commands: Commands) -> None:
    parser = commands.add_parser("compare", help="what differs between two scores files")
    parser.add_argument("a", metavar="A", help="baseline: FILE or FILE:row, where row is an SAE in it")
    parser.add_argument("b", metavar="B", help="FILE or FILE:row that is compared with it")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    old, new = read_baseline(arguments.a), read_baseline(arguments.b)
    rows = [(score, row) for score in new.rows if (row := old.find(score)) is not None]
    if not rows:
        raise ValueError(f"{arguments.a} and {arguments.b} have no property of one SAE in common; try FILE:row")
    pairs = _pairs(old, new, rows)
    several = len({_names(pair) for pair in pairs}) > 1
    chances = _chances(pairs)
    if not several:
        put(f"A is {_at(pairs[0][1])}, B is {_at(pairs[0][0])}\n")
    told = [_row(pair, p, named=several) for pair, p in zip(pairs, chances, strict=True)]
    put(table([row for row in told if row], HEADER))
    for line in _left_out(pairs, named=several):
        put(f"\n{line}")
    alone = len(new.rows) - len(pairs), len({s.identity() for s in old.rows} - {row.identity() for _, row in rows})
    put(f"\nOnly in B: {alone[0]}. Only in A: {alone[1]}.")
    put(f"Intervals are 95%; over the items that both were measured on, or unpaired ({DASH}), which is wider.")
    ranked = sum(p is not None for p in chances)
    put(f"Better and worse hold at {FALSE_ALARMS:.0%} for all {ranked} comparisons together (Holm).")
    _check_items([result for _, _, result in pairs])
    return 0


def _pairs(old: Baseline, new: Baseline, rows: Sequence[tuple[Score, Score]]) -> list[Pair]:
    """Scores of as many items follow on each other, since their resamples are the same and drawn once."""
    places = sorted(range(len(rows)), key=lambda place: rows[place][0].n)
    found = {place: held_against(old, rows[place][0], new.store, 0.0)[1] for place in places}
    return [(score, row, found[place]) for place, (score, row) in enumerate(rows)]


def _check_items(results: list[Comparison]) -> None:
    """Raise ValueError, after all that can be said, where items were damaged or missing."""
    if damaged := [result.reason for result in results if result.damaged]:
        raise ValueError(f"{len(damaged)} of {len(results)} scores could not be compared: {damaged[0]}")
    alone = [result.difference.alone for result in results if result.difference and result.difference.alone]
    if alone:
        put(f"{len(alone)} of them are compared without pairs, since {alone[0]}.")


def _names(pair: Pair) -> str:
    score, baseline, _ = pair
    return f"[{score.sae}]" + (f" vs [{baseline.sae}]" if baseline.sae != score.sae else "")


def _at(score: Score) -> str:
    return score.sae + ("" if score.l0 is None else f" at L0 {tenths(score.l0)}")


def _left_out(pairs: list[Pair], *, named: bool) -> list[str]:
    """For every reason why there is nothing to compare the scores that it holds for."""
    reasons: dict[str, list[str]] = {}
    for pair in (pair for pair in pairs if pair[2].difference is None):
        name = shown(title(pair[0]) + _names(pair) * named)
        reasons.setdefault(shown(f"{pair[2].verdict}: {pair[2].reason}"), []).append(name)
    return [f"{reason}\n  {', '.join(names)}" for reason, names in reasons.items()]


def _chances(pairs: list[Pair]) -> list[float | None]:
    """Two-sided p-values of no difference, adjusted for all that are ranked; None for the others."""
    ranked = [result.difference for score, _, result in pairs if score.better != "neither" and result.difference]
    adjusted = iter(holm([_two_sided(difference) for difference in ranked]))
    return [next(adjusted) if s.better != "neither" and result.difference else None for s, _, result in pairs]


def _two_sided(difference: Difference) -> float:
    return min(1.0, 2 * min(difference.p_above(0.0), difference.turned().p_above(0.0)))


def _row(pair: Pair, chance: float | None, *, named: bool) -> list[str]:
    """Empty where there is nothing to compare."""
    score, baseline, result = pair
    if result.difference is None or score.value is None or baseline.value is None:
        return []
    values = [number(baseline.value), number(score.value)]
    # Positive means worse in a Comparison; people read B - A.
    found = result.difference.turned() if score.better == "higher" else result.difference
    sign = "+" if found.value >= 0 else ""
    span = f"{sign}{number(found.value + 0.0)} [{number(found.ci_low)}, {number(found.ci_high)}]"
    items = f"{found.n} {score.n_unit}s" if found.paired else DASH
    return [title(score) + _names(pair) * named, *values, span, items, _word(result, chance)]


def _word(result: Comparison, chance: float | None) -> str:
    if chance is None:
        return "not ranked"
    if result.verdict == "ok":
        return "the same within noise"
    return result.verdict if chance <= FALSE_ALARMS else f"{result.verdict}, perhaps by chance"
