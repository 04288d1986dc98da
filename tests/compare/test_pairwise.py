"""Pairs in blocks come out as pairs one by one."""

from pathlib import Path
from typing import Any

import numpy as np
import one_by_one
import pytest
from factories import make_score

from saebench.compare import pairwise
from saebench.compare.contrasts import Compare, paired_by, unpaired
from saebench.compare.pairwise import least
from saebench.compare.ranking import ranks
from saebench.record.columns import Column, current_scores
from saebench.record.score import Score
from saebench.record.store import Store

BOARDS = Path(__file__).parents[2] / "leaderboards"
Arrays = dict[str, Any]


def column(seed: int, kinds: str, count: int = 40) -> tuple[list[Score], Compare]:
    """Scores that differ from not at all to clearly, whose items are of these kinds."""
    rng = np.random.default_rng(seed)
    better = ("higher", "lower")[seed % 2]
    ceiling = 0.9 if better == "higher" else 0.2
    items: dict[str, Arrays] = {}
    scores = []
    shared = rng.normal(0, 0.2, 60)
    for number in range(count):
        own = shared + rng.choice([0.0, 0.3, 0.5]) + rng.normal(0, rng.choice([0, 1e-7, 0.02]), 60)
        items[f"sae-{number}"] = one_of(rng, kinds[number % len(kinds)], own, items)
        each = items[f"sae-{number}"].get("contribution", own)
        value = float(np.asarray(each, dtype=float).mean()) + (0.0 if number % 3 else 0.01)
        half = float(rng.choice([0.0, 0.05]))
        known = {"value": value, "half": half, "better": better, "ceiling": ceiling if number % 4 else None}
        scores.append(make_score(sae=f"sae-{number}", items=f"{number:024x}", **known))
    return scores, Compare(lambda score: items[score.sae])


def one_of(rng: np.random.Generator, kind: str, own: np.ndarray, known: dict[str, Arrays]) -> Arrays:
    """`.` without items, `d` documents, `s` fewer of them, `n` names, `m` some of the names, `t` truth values, `=` another's."""
    names = np.array([f"item-{i}" for i in range(60)])
    some = rng.permutation(60)[: int(rng.integers(2, 60))]
    made: dict[str, Arrays] = {
        ".": {}, "d": {"contribution": own}, "s": {"contribution": own[:4]},
        "n": {"contribution": own[::-1], "item": names[::-1]}, "m": {"contribution": own[some], "item": names[some]},
        "t": {"contribution": own > 0.3, "item": names}, "=": next(iter(known.values()), {}),
        "2": {"contribution": own, "item": np.repeat(names[:30], 2)},
    }  # fmt: skip
    return made[kind]


@pytest.mark.parametrize("kinds", [".", "d", "n", "m", "t", "mn2", ".dsnmt=2", "d=", "n="])
@pytest.mark.parametrize("seed", range(4))
def test_blocks_find_what_pairs_find(seed: int, kinds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scores, compare = column(seed, kinds)
    expected = one_by_one.ranks(scores, compare)
    assert ranks(scores, compare) == expected
    monkeypatch.setattr(pairwise, "ROWS", 3)
    monkeypatch.setattr(pairwise, "COLUMNS", 7)
    assert ranks(scores, compare) == expected
    assert len(set(expected.values())) > 1


@pytest.mark.parametrize("board", ["organism", "smollm2"])
def test_blocks_find_what_pairs_find_on_published_boards(board: str) -> None:
    store = Store(BOARDS / f"{board}.jsonl")
    compare, columns = paired_by(store), dict[Column, list[Score]]()
    for score in current_scores(store.read()):
        columns.setdefault(Column.of(score), []).append(score)
    told = 0
    for scores in columns.values():
        found = ranks(scores, compare)
        useful = [score for score in scores if score.sae in found]
        assert found == one_by_one.ranks(useful, compare) if found else True
        told += len(set(found.values())) > 1
    assert told > 20


def test_holm_takes_a_step_for_each_pair_that_is_told_apart() -> None:
    """Three pairs, of which the second is told apart only because the first one is."""
    values = {"a": 0.0, "b": least(0.05, 3) + 0.01, "c": least(0.05, 2) + 0.01 - 1e-9}
    scores = [make_score(sae=name, value=value, half=1.96 / 2**0.5, better="higher") for name, value in values.items()]
    assert ranks(scores) == one_by_one.ranks(scores, unpaired) == {"a": 3, "b": 1, "c": 1}


@pytest.mark.parametrize("factor", [1, 3, 18_000_000])
def test_least_is_where_the_p_value_reaches_its_level(factor: int) -> None:
    from scipy import stats

    assert 2 * stats.norm.sf(least(0.05, factor)) * factor == pytest.approx(0.05)
