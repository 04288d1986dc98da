"""Which scores of a run are repetitions of which, and why others are missing."""

from factories import make_score

from saebench.session.reasons import Reasons, reason_lines
from saebench.session.summary import repetitions, reseed_lines


def test_repetitions_are_of_one_sae_and_begin_with_what_is_published() -> None:
    again = [make_score(seed=seed, value=0.4 + 0.01 * seed) for seed in (2, 0, 1)]
    twin = make_score(sae="other/name", sae_digest=again[0].sae_digest)
    (found,) = repetitions([*again, twin, make_score(property="p.x"), make_score(property="p.y", seed=1)])
    assert [score.seed for score in found] == [0, 1, 2]


def test_a_run_without_repetitions_has_no_table() -> None:
    assert reseed_lines([make_score(), make_score(property="p.x")]) == []


def test_the_table_has_both_kinds_of_noise() -> None:
    lines = reseed_lines([make_score(seed=seed, value=0.4 + 0.1 * seed, half=0.196) for seed in (0, 1)])
    assert lines[-1].split() == ["absorption.suppression_ratio[mine/topk]", "0.400", "0.100", "0.071", "2"]


def test_a_reason_is_told_once_and_then_by_its_number() -> None:
    reasons = Reasons()
    said = [reasons.word(text) for text in ("F1 of 0.3: no", "another", "F1 of 0.25: no", "another")]
    assert said == ["unscored [1]: F1 of 0.3: no", "unscored [2]: another", "unscored [1]", "unscored [2]"]


def test_at_the_end_each_reason_is_a_line_with_the_tests_it_holds_for() -> None:
    scores = [
        make_score(sae=f"zoo/{sae}", property=f"absorption.{name}", unscored=f"F1 of 0.{sae}: no")
        for sae in (1, 2, 3) for name in ("a", "b")
    ]  # fmt: skip
    lines = reason_lines([*scores, make_score(property="p.x", sae="b", unscored="why")])
    assert lines == [
        "unscored, 6 tests of absorption.a, absorption.b [zoo/1, zoo/2 and 1 more]: F1 of 0.1 to 0.3: no",
        "unscored, 1 test of p.x [b]: why",
    ]
