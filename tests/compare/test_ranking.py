"""An SAE ranks below those that are clearly better, and below no others."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import make_score
from one_by_one import two_sided

from saebench.compare.contrasts import Contrast, paired_by, unpaired
from saebench.compare.ranking import against_floor, ranks
from saebench.record.score import Score
from saebench.record.store import Store


def score(name: str, value: float | None, **overrides: Any) -> Score:
    known = {"sae": name, "value": value, "half": 0.01, "better": "higher"} | overrides
    return make_score(**(known | ({"unscored": "no"} if value is None else {})))


@pytest.mark.parametrize(
    ("better", "expected"),
    [("lower", {"a": 1, "b": 1, "c": 3, "d": 4}), ("higher", {"a": 3, "b": 3, "c": 2, "d": 1}), ("neither", {})],
)
def test_rank_is_one_more_than_how_many_are_clearly_better(better: str, expected: dict[str, int]) -> None:
    values = {"a": 0.10, "b": 0.105, "c": 0.2, "d": 0.5}
    scores = [score(name, value, better=better) for name, value in values.items()]
    assert ranks([*scores, score("e", None, better=better)]) == expected


def test_intervals_that_overlap_can_still_differ() -> None:
    """The test is whether the interval of the difference holds 0: here it is 0.018 ±0.0141."""
    assert ranks([score("a", 0.500), score("b", 0.518)]) == {"a": 2, "b": 1}
    assert ranks([score("a", 0.500), score("b", 0.514)]) == {"a": 1, "b": 1}


def test_more_pairs_need_larger_differences() -> None:
    """The pair of the test above is no longer told apart in a column with 45 pairs."""
    others = [score(f"s{i}", 0.509) for i in range(8)]
    assert set(ranks([score("a", 0.500), score("b", 0.518), *others]).values()) == {1}


def test_a_column_of_noise_rarely_has_a_rank_2() -> None:
    """Twelve equal SAEs, 400 times: at most 5% of columns may tell any apart, and plain 95% tests would in most."""
    rng = np.random.default_rng(0)
    found = [
        set(ranks([score(str(i), value, half=1.96) for i, value in enumerate(rng.normal(size=12))]).values()) != {1}
        for _ in range(400)
    ]
    assert np.mean(found) < 0.08


def test_neither_controls_nor_the_unscored_have_a_rank_or_count() -> None:
    scores = [score("a", 0.5), score("b", 0.3), score("control", 0.9, control=True), score("none", None)]
    assert ranks(scores) == {"a": 1, "b": 2}
    assert ranks([score("a", 0.5), score("control", 0.9, control=True), score("none", None)]) == {}
    assert ranks([]) == {}


def test_what_reaches_the_floor_has_no_rank() -> None:
    """The best of all may be no better than a useless SAE of its size."""
    f1: dict[str, Any] = {"half": 0.05}
    scores = [
        score("a", 0.70, floor=0.68, **f1),
        score("b", 0.66, floor=0.50, **f1),
        score("c", 0.40, floor=0.30, **f1),
    ]
    assert ranks(scores) == {"b": 1, "c": 2}
    assert ranks([score("a", 0.70, floor=0.68, **f1), score("b", 0.66, floor=0.65, **f1)]) == {}
    low = {"better": "lower", "half": 0.05}
    assert ranks([score("a", 0.3, floor=0.32, **low), score("b", 0.31, floor=0.9, **low)]) == {"b": 1}


@pytest.mark.parametrize(
    ("value", "better", "standing"),
    [(0.6, "higher", "beyond"), (0.505, "higher", "at floor"), (0.4, "higher", "below floor"),
     (0.6, "lower", "below floor"), (0.51, "lower", "at floor"), (0.4, "lower", "beyond"), (0.4, "neither", "beyond")],
)  # fmt: skip
def test_standing_against_the_floor(value: float, better: str, standing: str) -> None:
    assert against_floor(score("a", value, better=better, floor=0.5)) == standing
    assert against_floor(score("a", value, better=better)) == "beyond"


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_a_value_beyond_the_ceiling_is_no_better_than_the_ceiling(better: str) -> None:
    sign = 1 if better == "higher" else -1
    values = {"at": 1.0, "beyond": 1.0 + sign, "far": 1.0 + 5 * sign, "below": 1.0 - 0.2 * sign}
    scores = [score(name, value, better=better, ceiling=1.0) for name, value in values.items()]
    assert ranks(scores) == {"at": 1, "beyond": 1, "far": 1, "below": 4}


def test_equal_values_without_noise_share_a_rank() -> None:
    scores = [score(name, value, half=0.0, ceiling=0.9) for name, value in (("a", 0.3), ("b", 0.3), ("c", 0.1 + 0.2))]
    assert ranks([*scores, score("d", 0.2, half=0.0)]) == {"a": 1, "b": 1, "c": 1, "d": 4}
    beyond = [score("a", 1.1, half=0.0, ceiling=0.9), score("b", 1.3, half=0.0, ceiling=0.9)]
    assert ranks(beyond) == {"a": 1, "b": 1}


@pytest.mark.parametrize("freedom", [4, 9, 22, 95, math.inf])
@pytest.mark.parametrize("t", [0.5, 2.0, 3.5, 5.0])
def test_p_values_are_those_of_student(t: float, freedom: float) -> None:
    from scipy import stats

    exact = 2 * float(stats.t.sf(t, freedom))
    assert two_sided(Contrast(-t * 0.3, 0.3, freedom)) == pytest.approx(exact, rel=0.08)


# Pairs


def stored(store: Store, name: str, each: np.ndarray, **items: Any) -> Score:
    """A score that is the mean of its contributions, with an interval for other documents."""
    half = 1.96 * float(each.std(ddof=1)) / len(each) ** 0.5
    return store.append(score(name, float(each.mean()), half=half), {"contribution": each, **items})


def test_a_difference_on_every_document_shows_only_in_pairs(tmp_path: Path) -> None:
    """Documents differ more than SAEs do: the two intervals overlap, and yet one SAE is better on every document."""
    store, rng = Store(tmp_path / "s.jsonl"), np.random.default_rng(0)
    documents = rng.normal(0.5, 0.2, size=96)
    a = stored(store, "a", documents)
    b = stored(store, "b", documents + rng.normal(0.02, 0.01, size=96))
    assert ranks([a, b]) == {"a": 1, "b": 1}
    assert ranks([a, b], paired_by(store)) == {"a": 2, "b": 1}


def test_pairs_are_found_by_name(tmp_path: Path) -> None:
    store, rng = Store(tmp_path / "s.jsonl"), np.random.default_rng(0)
    names, values = np.array(list("abcdefghijkl")), rng.normal(0.5, 0.2, size=12)
    a = stored(store, "a", values, item=names)
    b = stored(store, "b", (values + rng.normal(0.05, 0.01, size=12))[::-1], item=names[::-1])
    assert ranks([a, b], paired_by(store)) == {"a": 2, "b": 1}


def test_without_pairs_scores_are_compared_as_independent(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.jsonl")
    a, b = score("a", 0.3), stored(store, "b", np.linspace(0.4, 0.6, 20))
    gone = stored(store, "c", np.linspace(0.4, 0.6, 21))
    (store.items_dir / f"{gone.items}.npz").unlink()
    compare = paired_by(store)
    assert compare(a, b) == unpaired(a, b)
    assert compare(b, gone) == unpaired(b, gone)
