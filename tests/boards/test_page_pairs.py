"""Differences of two SAEs on the page are those of `saebench compare`."""

from itertools import combinations

import pytest
from factories import make_score

from saebench.boards.board import tables
from saebench.boards.page_pairs import MOST, chosen, pairs
from saebench.compare.contrasts import Contrast, unpaired
from saebench.record.score import Score


def fvu(sae: str, value: float | None, **other: object) -> Score:
    given = {"unscored": "no"} if value is None else {"value": value, "half": 0.01}
    return make_score(**{"property": "reconstruction.fvu", "sae": sae, **given, **other})


def test_one_per_pair_in_the_order_of_combinations_and_none_without_a_score() -> None:
    scores = [fvu("a", 0.1), fvu("b", 0.3), fvu("c", None), fvu("d", 0.2)]
    control = fvu("e", 0.9).model_copy(update={"control": True})
    (table,) = tables([*scores, control])
    assert table.saes == ["a", "b", "c", "d"]
    found = dict(zip(combinations("abcd", 2), pairs(table, table.columns[0], unpaired), strict=True))
    assert {pair for pair, one in found.items() if one is None} == {("a", "c"), ("b", "c"), ("c", "d")}
    assert found["a", "b"] == pytest.approx((0.2, 0.01 * 2**0.5), rel=1e-3)
    assert found["b", "d"] == pytest.approx((-0.1, 0.01 * 2**0.5), rel=1e-3)


def test_where_items_are_shared_the_interval_is_that_of_student() -> None:
    (table,) = tables([fvu("a", 0.1), fvu("b", 0.3)])
    (one,) = pairs(table, table.columns[0], lambda second, first: Contrast(0.2, 0.01, 4))
    assert one == pytest.approx((0.2, 2.776 * 0.01), rel=1e-2)


def test_nothing_but_controls_can_be_compared_too() -> None:
    (table,) = tables([fvu(name, 0.1).model_copy(update={"control": True}) for name in "ab"])
    assert table.saes == ["a", "b"]


def test_of_many_saes_only_headlines_are_compared() -> None:
    (table,) = tables([fvu("a", 0.1)])
    assert chosen(table.columns * 3, [1], MOST) == {0, 1, 2}
    assert chosen(table.columns * 3, [1], MOST + 1) == {1}
