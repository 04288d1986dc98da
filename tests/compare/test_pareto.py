"""The front holds what nothing dominates, and nothing else."""

import random

import pytest
from factories import make_score

from saebench.compare.pareto import Point, front, front_of


def dominates(first: Point, second: Point, better: str) -> bool:
    sign = 1 if better == "higher" else -1
    no_worse = first[0] <= second[0] and sign * first[1] >= sign * second[1]
    return no_worse and first != second


@pytest.mark.parametrize("better", ["higher", "lower"])
@pytest.mark.parametrize("seed", range(20))
def test_by_definition(better: str, seed: int) -> None:
    """Few distinct values, so that ties in one coordinate and in both occur."""
    rng = random.Random(seed)
    points = [(float(rng.randint(1, 6)), float(rng.randint(1, 6))) for _ in range(12)]
    expected = {i for i, point in enumerate(points) if not any(dominates(o, point, better) for o in points)}
    found = front(points, better)  # type: ignore[arg-type]
    assert set(found) == expected
    assert len(found) == len(expected)
    assert [points[i][0] for i in found] == sorted(points[i][0] for i in found)


def test_direction_decides() -> None:
    points = [(16.0, 0.5), (16.0, 0.7), (32.0, 0.6), (32.0, 0.8)]
    assert front(points, "higher") == [1, 3]
    assert front(points, "lower") == [0]
    assert front([], "lower") == []
    with pytest.raises(ValueError, match="direction"):
        front(points, "neither")


def test_controls_unscored_and_unknown_l0_take_no_part() -> None:
    scores = [
        make_score(sae="a", l0=20.0, value=0.5),
        make_score(sae="control", l0=5.0, value=0.0, control=True),
        make_score(sae="unscored", l0=5.0, unscored="no letters"),
        make_score(sae="dense", l0=None, value=0.0),
        make_score(sae="b", l0=30.0, value=0.4),
    ]
    assert [(score.sae, point) for score, point in front_of(scores)] == [("a", (20.0, 0.5)), ("b", (30.0, 0.4))]
    assert front_of([make_score(better="neither")]) == front_of([]) == []


def test_beyond_the_ceiling_is_no_better_than_the_ceiling() -> None:
    scores = [
        make_score(sae=f"s{l0}", l0=l0, value=v, better="higher", ceiling=1.0) for l0, v in ((8.0, 1.0), (9.0, 1.3))
    ]
    assert [score.sae for score, _ in front_of(scores)] == ["s8.0"]
