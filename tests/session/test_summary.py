"""Which scores of a run are repetitions of which."""

from factories import make_score

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
