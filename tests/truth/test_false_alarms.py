"""The gate is quiet where nothing changed and loud where something did; `gate_simulations.py` has the full table."""

from functools import cache

import pytest
from gate_simulations import caught, red_runs

of_all_kinds = cache(caught)
"""One simulation tells of all kinds."""


def test_few_runs_are_red_without_any_change() -> None:
    # 200 runs give 5.0%; of 60 runs with that chance, more than 8 are red one time in 300.
    assert red_runs(60) <= 8 / 60


def test_without_a_correction_for_many_tests_most_runs_would_be_red() -> None:
    assert red_runs(20, corrected=False) > 0.3


@pytest.mark.parametrize(("kind"), ["documents", "concepts", "unpaired"])
def test_a_regression_of_twice_the_detectable_difference_is_caught(kind: str) -> None:
    assert of_all_kinds(60)[kind] >= 0.9


def test_the_smallest_detectable_difference_is_not_always_caught_among_so_many() -> None:
    assert max(caught(30, shifted=1.0).values()) < 0.9
