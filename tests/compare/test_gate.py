"""The gate fires above tolerance and noise, stays quiet below either, and never guesses."""

from pathlib import Path
from typing import Any

import pytest
from factories import make_score

from saebench.compare.baseline import Baseline, read_baseline
from saebench.compare.gate import Verdict, compare, message
from saebench.record.score import Score
from saebench.record.store import Store
from saebench.record.wording import number, with_interval


def verdict(value: float, half: float, better: str = "lower", tolerance: float = 0.02) -> Verdict:
    score = make_score(value=value, half=half, better=better)
    return compare(score, make_score(value=0.3, half=half, better=better), tolerance).verdict


@pytest.mark.parametrize(
    ("value", "half", "expected"),
    [
        (0.40, 0.03, "worse"),  # 0.10 - 0.042 > 0.02
        (0.40, 0.08, "ok"),  # far over the tolerance, within noise
        (0.315, 0.0, "ok"),  # clear of noise, within the tolerance
        (0.34, 0.02, "ok"),  # over the tolerance and over noise, not over both together
        (0.20, 0.03, "better"),
        (0.20, 0.08, "ok"),
        (0.30, 0.0, "ok"),
    ],
)
def test_gate_needs_more_than_tolerance_and_noise(value: float, half: float, expected: Verdict) -> None:
    assert verdict(value, half) == expected


@pytest.mark.parametrize(("better", "expected"), [("lower", "worse"), ("higher", "better"), ("neither", "ok")])
def test_direction(better: str, expected: Verdict) -> None:
    assert verdict(0.5, 0.01, better) == expected


def test_difference_of_exactly_the_tolerance_is_allowed() -> None:
    assert 0.312 - 0.292 > 0.020
    score, baseline = make_score(value=0.312, half=0.0), make_score(value=0.292, half=0.0)
    assert compare(score, baseline, 0.020).verdict == "ok"
    assert compare(score, baseline, 0.0199).verdict == "worse"


def test_interval_adds_half_widths_in_quadrature() -> None:
    result = compare(make_score(value=0.5, half=0.03), make_score(value=0.3, half=0.04), 0.0)
    assert result.difference is not None
    assert (result.difference.value, result.difference.ci_low, result.difference.ci_high) == pytest.approx(
        (0.2, 0.15, 0.25)
    )


def test_higher_is_better_is_oriented_too() -> None:
    result = compare(make_score(value=0.5, better="higher"), make_score(value=0.8, better="higher"), 0.0)
    assert result.difference is not None
    assert result.difference.value == pytest.approx(0.3)
    assert result.verdict == "worse"


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"corpus": "other"},
        {"model_digest": "x"},
        {"params": {"factor": 4}},
        {"better": "higher"},
        {"unit": "nats"},
        {"hook": "blocks.3"},
        {"unscored": "no letters"},
    ],
)
def test_other_measurements_are_incomparable(change: dict[str, Any]) -> None:
    result = compare(make_score(value=9.0), make_score(**change), 0.0)
    assert result.verdict == "incomparable"
    assert result.difference is None
    assert next(iter(change)).removesuffix("_digest") in result.reason
    assert "incomparable, the baseline" in message(make_score(value=9.0), result)


def test_transcoders_that_write_elsewhere_are_incomparable() -> None:
    result = compare(make_score(reading={"hook_out": "blocks.2.hook_mlp_out"}), make_score(), 0.0)
    assert (result.verdict, result.reason) == (
        "incomparable", "the baseline has another hook to write to (None, here blocks.2.hook_mlp_out)",
    )  # fmt: skip


def test_unscored_and_new_have_their_own_words() -> None:
    score = make_score(unscored="too few letters")
    assert compare(score, make_score(), 0.0).verdict == "unscored"
    assert message(score, compare(score, None, 0.0)).endswith("[mine/topk]: unscored, too few letters")
    assert compare(make_score(), None, 0.0).verdict == "new"
    assert message(make_score(), compare(make_score(), None, 0.0)).endswith("= 0.412: new, no baseline")


@pytest.mark.parametrize("tolerance", [-0.1, float("nan")])
def test_senseless_tolerance_cannot_switch_the_gate_off(tolerance: float) -> None:
    with pytest.raises(ValueError, match="must be 0 or more"):
        compare(make_score(), make_score(), tolerance)


def test_message_is_the_promised_line() -> None:
    score, baseline = make_score(value=0.412, half=0.059), make_score(value=0.292, half=0.0)
    line = (
        "absorption.suppression_ratio[mine/topk] = 0.412, baseline 0.292: worse by 0.120 [0.061, 0.179], allowed 0.020,"
        " unpaired"
    )
    assert message(score, compare(score, baseline, 0.020)) == line


def test_what_is_clear_alone_may_be_chance_among_many() -> None:
    score, baseline = make_score(value=0.412, half=0.05), make_score(value=0.34, half=0.0)
    alone, among = compare(score, baseline, 0.0), compare(score, baseline, 0.0, family=100)
    assert (alone.verdict, alone.by_chance) == ("worse", False)
    assert (among.verdict, among.by_chance) == ("ok", True)
    clear = compare(make_score(value=0.6, half=0.05), baseline, 0.0, family=100)
    assert clear.verdict == "worse"


def test_message_of_better_and_of_undirected() -> None:
    score = make_score(value=0.2, half=0.0)
    assert "better by 0.212 [0.158, 0.266]" in message(score, compare(score, make_score(half=0.054), 0.0))
    score, other = make_score(better="neither", half=0.0), make_score(value=0.5, better="neither", half=0.0)
    assert "differs by -0.088 [-0.088, -0.088]" in message(score, compare(score, other, 0.0))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.000"),
        (0.4123, "0.412"),
        (-0.02, "-0.020"),
        (0.1 - 0.09, "0.010"),
        (0.00012345, "0.000123"),
        (21000.4, "21000"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text
    assert number(3.4, like=value) == ("3" if value > 1000 else "3.400")


@pytest.mark.parametrize(
    ("value", "half", "text"),
    [
        (0.41234, 0.0382, "0.412 ±0.038"),
        (0.03421, 0.00593, "0.0342 ±0.0059"),
        (224.0, 80.0, "224 ±80"),
        (21000.4, 312.0, "21000 ±312"),
        (0.0, 0.0, "0.000 ±0.000"),
        (1.0, 3e-9, "1.000 ±0.000"),
    ],
)
def test_a_value_has_the_digits_that_its_interval_leaves(value: float, half: float, text: str) -> None:
    assert with_interval(value, half) == text


def found(score: Score, rows: list[Score]) -> Score | None:
    return Baseline(rows, Store("nowhere.jsonl")).find(score)


def rows(*names: str) -> list[Score]:
    return [make_score(sae=name, value=i) for i, name in enumerate(names)]


def test_baseline_is_found_by_name_or_by_being_alone() -> None:
    score = make_score(sae="b")
    assert found(score, rows("a", "b", "c")) == rows("a", "b", "c")[1]
    assert found(score, rows("a", "c")) is None
    assert found(score, rows("a")) == rows("a")[0]
    assert found(score, []) is None
    assert found(score, [make_score(sae="b", params={"factor": 2})]) is None


def test_comparable_row_wins_over_a_later_one() -> None:
    first, second, third = make_score(value=0.1), make_score(value=0.2), make_score(value=0.3, version=2)
    assert found(make_score(), [first, second, third]) == second
    assert found(make_score(version=3), [first, third]) == third


@pytest.fixture
def file(tmp_path: Path) -> Path:
    store = Store(tmp_path / "organism.jsonl")
    for name in ("organism/topk", "pkg.mod:make"):
        store.append(make_score(sae=name, value=0.1))
        store.append(make_score(sae=name))
    return store.path


def test_file_and_row_are_read(file: Path) -> None:
    assert [s.sae for s in read_baseline(str(file)).rows] == ["organism/topk", "pkg.mod:make"]
    assert [s.value for s in read_baseline(f"{file}:organism/topk").rows] == [0.412]
    assert [s.sae for s in read_baseline(f"{file}:pkg.mod:make").rows] == ["pkg.mod:make"]


def test_repetitions_of_random_stages_are_no_baseline(file: Path) -> None:
    Store(file).append(make_score(sae="organism/topk", value=0.9, seed=1))
    assert [s.value for s in read_baseline(f"{file}:organism/topk").rows] == [0.412]


def test_bad_file_or_row_gets_the_nearest(file: Path) -> None:
    with pytest.raises(ValueError, match=r"has no row 'organism/topc'\. Did you mean 'organism/topk'\? Known: organ"):
        read_baseline(f"{file}:organism/topc")
    with pytest.raises(ValueError, match=r"no such file of scores\. Did you mean '.*organism\.jsonl'\?"):
        read_baseline(str(file.with_name("organsim.jsonl")))
    file.with_name("empty.jsonl").write_text("")
    with pytest.raises(ValueError, match="holds no scores"):
        read_baseline(str(file.with_name("empty.jsonl")))
