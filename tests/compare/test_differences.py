"""Paired differences see what unpaired ones cannot, and never pair what was not measured on the same items."""

from typing import Any

import numpy as np
import pytest
from factories import make_score

from saebench.compare.differences import FEWEST_PAIRS, Difference, loaded, paired, unpaired
from saebench.record.items import Missing
from saebench.stats.multiple import holm
from saebench.stats.statistics import DETECTED, ratio_of_sums, repeated, seed_of
from saebench.stats.two_way import over_concepts


def measured(numerator: Any, denominator: Any) -> tuple[Any, Any]:
    """A score and its items."""
    estimate = ratio_of_sums(np.asarray(numerator, float), np.asarray(denominator, float), purpose="test")
    score = make_score(
        value=estimate.value, half=(estimate.ci_high - estimate.ci_low) / 2, n=estimate.n, n_unit="document"
    )
    return score, estimate.items


@pytest.fixture
def documents() -> tuple[Any, Any]:
    """Two SAEs on the same 96 documents, which differ far more than the SAEs do."""
    rng = np.random.default_rng(0)
    difficulty, length = rng.gamma(4, 1, 96), rng.integers(20, 60, 96)
    noise = rng.normal(0, 0.05, (2, 96))
    return tuple(measured((difficulty + shift + own) * length, length) for shift, own in zip((0.0, 0.1), noise))  # type: ignore[return-value] # noqa: B905


def test_pairs_see_a_difference_that_is_lost_between_documents(documents: Any) -> None:
    (baseline, baseline_items), (score, items) = documents
    apart, together = unpaired(score, baseline), paired(score, baseline, items, baseline_items)
    assert together is not None
    assert together.value == pytest.approx(score.value - baseline.value)
    assert together.value == pytest.approx(0.1, abs=0.02)
    assert apart.ci_low < 0 < together.ci_low
    assert together.error < apart.error / 10
    assert together.n == 96


def test_the_mean_contribution_is_the_score(documents: Any) -> None:
    (score, items), _ = documents
    assert items["contribution"].mean() == pytest.approx(score.value, rel=1e-3)


def test_contributions_of_a_mean_are_its_values() -> None:
    _, items = measured([1.0, 2.0, 6.0], [1.0, 1.0, 1.0])
    assert items["contribution"].tolist() == pytest.approx([1, 2, 6])


def test_the_interval_is_that_of_students_t_for_a_mean() -> None:
    rng = np.random.default_rng(1)
    for n in (6, 12, 96):
        values = rng.normal(0.3, 1, n)
        (score, items), (zero, none) = measured(values, np.ones(n)), measured(np.zeros(n), np.ones(n))
        found = paired(score, zero, items, none)
        from scipy import stats

        half = stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / n**0.5
        assert found is not None
        assert (found.ci_high - found.ci_low) / 2 == pytest.approx(half, rel=0.08)
        assert found.p_above(0.0) == pytest.approx(stats.ttest_1samp(values, 0, alternative="greater").pvalue)


def concepts(values: dict[str, float]) -> tuple[Any, Any]:
    words = 40
    sums = {
        "hits": np.tile([v / words for v in values.values()], (words, 1)),
        "one": np.full((words, len(values)), 1 / words),
    }
    estimate = over_concepts(sums, lambda s: s["hits"] / s["one"], purpose="test", concepts=list(values))
    score = make_score(value=estimate.value, half=0.1, better="higher", n=estimate.n, n_unit="concept")
    return score, estimate.items


def test_concepts_are_paired_by_name() -> None:
    score, items = concepts({letter: 0.5 + 0.01 * i for i, letter in enumerate("abcdefg")})
    baseline, other = concepts({letter: 0.4 + 0.01 * i for i, letter in reversed(list(enumerate("abcdefg")))})
    found = paired(score, baseline, items, other)
    assert found is not None
    assert (found.value, found.ci_low, found.ci_high) == pytest.approx((0.1, 0.1, 0.1))
    assert found.p_above(0.0) < 1e-9


def test_concepts_that_one_score_lacks_are_left_out() -> None:
    score, items = concepts(dict.fromkeys("abcdef", 0.5) | {"z": 1.0})
    baseline, other = concepts(dict.fromkeys("abcdef", 0.5) | {"y": 0.0})
    found = paired(score, baseline, items, other)
    assert found is not None
    assert score.value != baseline.value
    assert (found.value, found.n) == (pytest.approx(0.0), 6)


@pytest.mark.parametrize("letters", ["", "ab", "abcd"])
def test_too_few_shared_concepts_are_not_paired(letters: str) -> None:
    assert len(letters) < FEWEST_PAIRS
    score, items = concepts(dict.fromkeys(letters + "xyz", 0.5))
    baseline, other = concepts(dict.fromkeys(letters + "uvw", 0.5))
    assert paired(score, baseline, items, other) is None


def test_what_has_no_items_or_others_is_not_paired(documents: Any) -> None:
    (score, items), _ = documents
    short, few = measured(np.ones(50), np.ones(50))
    named, by_name = concepts(dict.fromkeys("abcdefg", 0.5))
    for baseline, other in ((short, few), (named, by_name), (score, {})):
        assert paired(score, baseline, items, other) is None
        assert paired(baseline, score, other, items) is None


def test_no_difference_at_all_is_no_regression(documents: Any) -> None:
    (score, items), _ = documents
    found = paired(score, score, items, items)
    assert found == Difference(0.0, 0.0, 0.0, 0.0, 96)
    assert found.p_above(0.0) == 1.0
    assert Difference(0.1, 0.1, 0.1, 0.0, 96).p_above(0.05) == 0.0


def test_turned_is_the_other_way_round() -> None:
    found = Difference(0.1, 0.05, 0.2, 0.03, 10).turned()
    assert (found.value, found.ci_low, found.ci_high, found.error, found.n) == (-0.1, -0.2, -0.05, 0.03, 10)
    assert found.turned() == Difference(0.1, 0.05, 0.2, 0.03, 10)


def test_holm_is_what_statsmodels_says() -> None:
    # statsmodels.stats.multitest.multipletests([.01, .04, .03, .005], method="holm")
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_missing_items_are_none() -> None:
    def missing(_: Any) -> Any:
        raise Missing("gone")

    def damaged(_: Any) -> Any:
        raise ValueError("torn")

    assert loaded(missing, make_score()) is None
    with pytest.raises(ValueError, match="torn"):
        loaded(damaged, make_score())


def test_detectable_is_at_80_percent_power() -> None:
    rng = np.random.default_rng(2)
    error = 0.1
    seen = rng.normal(DETECTED * error, error, 20_000) > 1.96 * error
    assert seen.mean() == pytest.approx(0.8, abs=0.01)


def test_repetitions_have_seeds_of_their_own() -> None:
    first = seed_of("games")
    with repeated(1):
        second = seed_of("games")
        with repeated(2):
            assert seed_of("games") not in (first, second)
        assert seed_of("games") == second
    assert seed_of("games") == first != second
