"""Comparison of architectures at equal L0: the baseline is a curve of score against L0, read off where the SAE is."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from saebench.compare.baseline import IN_COMMON, changed, located
from saebench.compare.differences import Difference, computable, unpaired
from saebench.compare.pareto import l0_of
from saebench.record.naming import nearest
from saebench.record.places import architectures_file
from saebench.record.score import Score
from saebench.record.store import Store

SAME_SAE = ("d_sae", "budget", "hook")
"""What the SAEs must have in common beside what was measured; the budget says how much they were trained on."""
SAME_L0 = 1.15
"""SAEs whose L0s differ by no more than this factor are one point of the curve: they differ in their seed."""
DEFAULT = "topk"


@dataclass(frozen=True)
class Point:
    """SAEs of one architecture and sparsity, trained from several seeds."""

    l0: float
    values: tuple[float, ...]
    half: float
    """Half-width of the sampling interval of one of them."""

    @property
    def value(self) -> float:
        return sum(self.values) / len(self.values)


@dataclass(frozen=True)
class Matched:
    """Scores of architectures at several sparsities, of which one architecture is the baseline."""

    rows: list[Score]
    row: str
    """The architecture that scores are gated against."""

    @property
    def architectures(self) -> list[str]:
        return list(dict.fromkeys(str(score.architecture) for score in self.rows))

    @cached_property
    def _by_measure(self) -> dict[str, list[Score]]:
        found: dict[str, list[Score]] = {}
        for row in self.rows:
            found.setdefault(_measure(row), []).append(row)
        return found

    def same(self, score: Score) -> list[Score]:
        """Rows of the same property and parameters."""
        return self._by_measure.get(_measure(score), [])

    def find(self, score: Score) -> Score | None:
        """The architecture's score at the L0 of another; unscored where that is not known, None where it has none."""
        if not self.same(score):
            return None
        found = baseline_at(score, self.same(score), self.row)
        return _unknown(score, self.row, found) if isinstance(found, str) else found

    def difference(self, score: Score, row: Score, store: Store) -> Difference:
        """Score minus the interpolated one. There are no items to pair them by."""
        return unpaired(score, row)


def read_own(budget: str) -> Matched | None:
    """The scores that come with saebench, where it has some of the budget."""
    try:
        return read_matched(str(architectures_file()), budget)
    except ValueError:
        return None


def read_matched(argument: str, budget: str) -> Matched:
    """Read `FILE`, `FILE:ROW` or, of the file that comes with saebench, `:ROW`; ROW is an architecture, else top-k.

    Raises ValueError with one sentence for a file without architectures, or without any trained on this budget.
    """
    path, row = (architectures_file(), argument[1:]) if argument.startswith(":") else located(argument)
    rows = [score for score in Store(path).newest().values() if _of_architecture(score)]
    names = list(dict.fromkeys(str(score.architecture) for score in rows))
    row = row or (names[0] if len(names) == 1 else DEFAULT)
    if row not in names:
        known = ", ".join(names) or "none"
        raise ValueError(f"{path} has no architecture '{row}'.{nearest(row, names)} Known: {known}")
    if budget not in {score.budget for score in rows if score.architecture == row}:
        made = f"pytest suites/ --sae-arch {row} --sae-budget {budget} --sae-scores FILE"
        raise ValueError(f"{path} has no scores of '{row}' at --sae-budget {budget}; make some: {made}")
    return Matched(rows, row)


def _of_architecture(score: Score) -> bool:
    return score.architecture is not None and not score.control and score.seed == 0


def baseline_at(score: Score, rows: Iterable[Score], architecture: str) -> Score | str:
    """What an architecture would score at another SAE's L0, or in one sentence why that is not known.

    Interpolated between its own L0s, in their logarithm and monotonely, never beyond them. The interval is that of one
    more SAE of the architecture: that of the texts, and how far seeds of training spread in the same score, in
    quadrature. The spread is pooled over all architectures among the rows.
    """
    same = [row for row in rows if _measure(row) == _measure(score)]
    own = [row for row in same if row.architecture == architecture]
    if reason := _incomparable(score, own):
        return reason
    alike = [row for row in same if not _differs(score, row)]
    curve = _curve([row for row in alike if row.architecture == architecture])
    if reason := _outside(score, curve):
        return reason
    spread = _spread([_curve([row for row in alike if row.architecture == name]) for name in _names(alike)])
    if spread is None:
        return "it has one seed at each L0, so that what training alone changes is not known"
    return _synthetic(score, own[0], curve, spread)


def _names(rows: Iterable[Score]) -> list[str | None]:
    return list(dict.fromkeys(row.architecture for row in rows))


def _measure(score: Score) -> str:
    return f"{score.property} {sorted(score.params.items())}"


def _differs(score: Score, row: Score) -> str:
    """Name what differs beside architecture and L0; empty where nothing does."""
    if other := changed(score, row):
        return other
    for field in SAME_SAE:
        old, new = getattr(row, field), getattr(score, field)
        if old != new:
            return f"{field} ({old}, here {new})"
    return ""


def _incomparable(score: Score, own: Sequence[Score]) -> str:
    """Why no curve can be drawn of a baseline's rows; empty where one can."""
    differing = [_differs(score, row) for row in own]
    if not own:
        return "it has no such score"
    if all(differing):
        return f"it has another {differing[-1]}"
    reasons = [
        row.unscored_reason for row, other in zip(own, differing, strict=True) if not other and row.value is None
    ]
    scored = [row for row, other in zip(own, differing, strict=True) if not other and row.value is not None]
    return "" if scored else str(reasons[0])


def _curve(rows: Iterable[Score]) -> list[Point]:
    """Points by L0, each of the SAEs that are equally sparse."""
    groups = list[list[Score]]()
    for row in sorted((row for row in rows if computable(row) and l0_of(row)), key=lambda row: row.l0 or 0.0):
        if not groups or (row.l0 or 0.0) > SAME_L0 * (groups[-1][0].l0 or 0.0):
            groups.append([])
        groups[-1].append(row)
    return [_point(group) for group in groups]


def _point(rows: Sequence[Score]) -> Point:
    halves = [row.half_width() or 0.0 for row in rows]
    l0 = sum(row.l0 or 0.0 for row in rows) / len(rows)
    return Point(l0, tuple(row.value for row in rows if row.value is not None), sum(halves) / len(halves))


def _outside(score: Score, curve: Sequence[Point]) -> str:
    if l0_of(score) is None or score.l0 is None:
        return "the L0 of what is compared with it is not known"
    if len(curve) < 2:
        return f"it is scored at {len(curve)} L0, and a curve needs two"
    low, high = curve[0].l0, curve[-1].l0
    return "" if low <= score.l0 <= high else f"L0 {score.l0:.1f} is outside of the baseline's {low:.1f} to {high:.1f}"


def _spread(curves: Iterable[Sequence[Point]]) -> tuple[float, int] | None:
    """Standard deviation over seeds of training, pooled over all points, and its degrees of freedom."""
    points = [point for curve in curves for point in curve if len(point.values) > 1]
    freedom = sum(len(point.values) - 1 for point in points)
    squares = sum((value - point.value) ** 2 for point in points for value in point.values)
    return (math.sqrt(squares / freedom), freedom) if freedom else None


def _synthetic(score: Score, like: Score, curve: Sequence[Point], spread: tuple[float, int]) -> Score:
    from scipy.interpolate import PchipInterpolator
    from scipy.stats import t

    at, l0 = np.log([point.l0 for point in curve]), math.log(score.l0 or 1.0)
    value = float(PchipInterpolator(at, [point.value for point in curve])(l0))
    sampling = float(np.interp(l0, at, [point.half for point in curve]))
    seeds = float(np.interp(l0, at, [len(point.values) for point in curve]))
    half = math.hypot(sampling, float(t.ppf(0.975, spread[1])) * spread[0] * math.sqrt(1 + 1 / seeds))
    return like.model_copy(
        update={
            **{field: getattr(score, field) for field in (*IN_COMMON, *SAME_SAE, "l0")},
            "sae": f"{like.architecture} at L0 {score.l0:.1f}", "sae_digest": f"interpolated at {score.l0}",
            "value": value, "ci_low": value - half, "ci_high": value + half, "items": None, "unscored_reason": None,
            "fvu": None, "controls": {},
        }
    )  # fmt: skip


def _unknown(score: Score, architecture: str, reason: str) -> Score:
    none = {"value": None, "ci_low": None, "ci_high": None, "items": None}
    return score.model_copy(update={**none, "sae": architecture, "unscored_reason": reason})
