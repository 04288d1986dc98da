"""Which SAEs no other one beats in both sparsity and score."""

from collections.abc import Sequence

from saebench.compare.differences import computable
from saebench.record.score import Better, Score

Point = tuple[float, float]
"""L0 and score."""
FEWEST_LATENTS, MOST_LATENTS = 1e-3, 1e9
"""Between these an L0 may be one: beyond them it stands on no scale, and nothing is compared at it."""


def front(points: Sequence[Point], better: Better) -> list[int]:
    """Return the places of the points that none dominates, by rising L0.

    A point dominates another if its L0 is no higher and its score no worse, and one of the two is better: of equal
    points, none does. Raises ValueError for a property without direction.
    """
    if better == "neither":
        raise ValueError("a property without direction has no Pareto front")
    costs = [(l0, score if better == "lower" else -score) for l0, score in points]
    found: list[int] = []
    for place in sorted(range(len(costs)), key=lambda place: costs[place]):
        if not found or costs[place][1] < costs[found[-1]][1] or costs[place] == costs[found[-1]]:
            found.append(place)
    return found


def front_of(scores: Sequence[Score]) -> list[tuple[Score, Point]]:
    """Return the scores of one property that lie on its front, with their points, by rising L0.

    Controls, unscored SAEs and those without a known L0 take no part, and a value beyond the ceiling counts as the
    ceiling. Empty for a property without direction.
    """
    known = [(score, point) for score in scores if not score.control and (point := _point(score))]
    if not known or known[0][0].better == "neither":
        return []
    return [known[place] for place in front([point for _, point in known], known[0][0].better)]


def l0_of(score: Score) -> float | None:
    """The L0 of a score, None where it is not known or cannot be one."""
    return score.l0 if score.l0 is not None and FEWEST_LATENTS <= score.l0 <= MOST_LATENTS else None


def _point(score: Score) -> Point | None:
    l0 = l0_of(score)
    if score.value is None or l0 is None or not computable(score):
        return None
    if score.ceiling is None:
        return l0, score.value
    return l0, (min if score.better == "higher" else max)(score.value, score.ceiling)
