"""Intervals of every kind contain the truth in 93 to 97% of samples as large as at `quick`; wrong ones do not.

So few samples tell it to two standard deviations of a binomial; the table of a thousand each, and of other sizes, is
what `python tests/support/coverage_simulations.py` prints.
"""

from collections.abc import Iterator

import pytest
from coverage_cases import Case, Interval, Random, cases
from coverage_simulations import ASKED, coverage, wilson

from saebench.compare import differences
from saebench.evidence.game import games
from saebench.metrics import context_length, marginal_structure, throughput
from saebench.record.score import Estimate
from saebench.stats import statistics, two_way

SAMPLES = 240
DEVIATIONS = 2.0
QUICK = [
    ("mean loss", "96 documents, cv .5"), ("kl_retention", "96 documents"), ("cosine", "96 documents"),
    ("shrinkage", "96 documents, 0.1"), ("shrinkage", "96 documents, 0.0005"), ("plateau_gap", "48 prompts"),
    ("error_pathology_ratio", "48 prompts"), ("f1", "23 concepts"), ("recall", "23 concepts that share words"),
    ("suppression_ratio", "23 concepts, all or nothing"), ("split_count", "23 concepts"),
    ("fraction", "23 concepts"), ("causal_rate", "23 concepts"), ("full_rate", "23 concepts"),
    ("games.auc", "40 x 16, as measured"), ("games.difference", "40 x 16, noise"),
    ("games.difference", "40 x 16, prompts differ"), ("distinguishability.auc", "5 rungs, 40 x 16, one is the least"),
    ("distinguishability.auc", "5 rungs, 40 x 16, all alike"), ("marginal_structure", "96 documents, three are alike"),
    ("marginal_structure.first_letter_f1", "23 concepts"), ("throughput", "30 rounds"),
    ("paired difference", "96 documents"), ("paired difference of f1", "10 concepts"),
]  # fmt: skip
SMALL = [("mean loss", "16 documents, cv .5"), ("f1", "5 concepts"), ("games.difference", "16 x 4, prompts differ")]
CASES = list(cases())


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    kept = (two_way._word_counts, differences._counts)
    for module in (statistics, two_way, games, differences, marginal_structure, context_length, throughput):
        monkeypatch.setattr(module, "RESAMPLES", 500)
    for cache in kept:
        cache.cache_clear()
    yield
    for cache in kept:  # what is kept does not know how many resamples it has
        cache.cache_clear()


def case(kind: str, condition: str) -> Case:
    return next(each for each in CASES if each.kind.startswith(kind) and each.condition.startswith(condition))


@pytest.mark.parametrize("kind,condition", QUICK)
def test_interval_covers(kind: str, condition: str) -> None:
    found = coverage(case(kind, condition), SAMPLES)
    assert found.within(DEVIATIONS), found


@pytest.mark.parametrize("kind,condition", SMALL)
def test_interval_of_few_does_not_promise_too_much(kind: str, condition: str) -> None:
    assert coverage(case(kind, condition), SAMPLES).share >= 0.90


@pytest.mark.parametrize("kind", ["WRONG: tokens", "WRONG: words", "WRONG: answers"])
def test_wrong_interval_is_found_out(kind: str) -> None:
    found = coverage(case(kind, ""), SAMPLES)
    assert not found.within(DEVIATIONS), found
    assert found.share < 0.8


def test_interval_that_is_too_wide_is_found_out() -> None:
    """As it was with words and concepts drawn anew and nothing done about what both had counted twice."""
    right = case("mean loss", "96 documents, cv .5")

    def twice(rng: Random) -> Interval:
        found = right.measure(rng)
        half = found.ci_high - found.ci_low
        return Estimate(found.value, found.value - half, found.value + half, 2, "none")

    assert not coverage(Case(right.kind, right.condition, right.truth, twice), SAMPLES).within(DEVIATIONS)


def test_least_of_equals_is_low_by_chance_and_its_interval_is_not() -> None:
    """The end of what all are above at once: nobody knows which of them is the least."""
    found = coverage(case("distinguishability.auc", "5 rungs, 40 x 16, all alike"), SAMPLES)
    assert found.bias < -0.01
    assert found.share >= 0.93


@pytest.mark.parametrize("p", [0.002, 0.05, 0.5])
def test_wilson_covers_on_average_over_nearby_shares(p: float) -> None:
    assert ASKED[0] <= wilson(p, 1024)[0] <= ASKED[1]


def test_samples_of_a_population_have_its_score_on_average() -> None:
    """A wrong truth would make right intervals look wrong."""
    found = coverage(case("games.difference", "40 x 16, as measured"), SAMPLES)
    assert abs(found.bias) < found.width / SAMPLES**0.5
