"""A project's own tolerances and known regressions, absolute demands, and what the gate makes of them all."""

import datetime
from pathlib import Path
from typing import Any

import pytest
from factories import make_score

from saebench.compare.baseline import Baseline
from saebench.compare.demands import Demand, check_known
from saebench.compare.judging import Gate, Judgement, counted, nothing_compared
from saebench.compare.settings import Settings, read_settings
from saebench.record.properties import Property
from saebench.record.score import Score
from saebench.record.store import Store

KNOWN = """
[tool.saebench.tolerances]
"absorption.*" = 0.01
"absorption.suppression_ratio" = 0.2

[[tool.saebench.acknowledged]]
score = "absorption.suppression_ratio[mine/*]"
reason = "trained on half of the tokens"
until = 2026-12-31
"""
SUPPRESSION = Property("absorption.suppression_ratio", 1, "lower", "ratio", tolerance=0.02)
TODAY = datetime.date(2026, 12, 31)


@pytest.fixture
def project(tmp_path: Path) -> Any:
    def write(text: str) -> Path:
        (tmp_path / "pyproject.toml").write_text(text)
        return tmp_path

    return write


def test_the_last_tolerance_that_matches_holds(project: Any) -> None:
    settings = read_settings(project(KNOWN))
    assert settings.tolerance("absorption.suppression_ratio", 0.02) == 0.2
    assert settings.tolerance("absorption.recall_hole", 0.02) == 0.01
    assert settings.tolerance("first_letter.f1", 0.02) == 0.02


def test_brackets_in_a_pattern_are_brackets(project: Any) -> None:
    settings = read_settings(project(KNOWN))
    assert settings.acknowledgement("absorption.suppression_ratio", "mine/topk") is not None
    assert settings.acknowledgement("absorption.suppression_ratio", "other/topk") is None
    assert settings.acknowledgement("absorption.suppression_rati", "mine/topk") is None


@pytest.mark.parametrize("text", ["", "[tool.other]\nx = 1", "[project]\nname = 'x'"])
def test_without_the_table_everything_is_as_the_markers_say(project: Any, text: str) -> None:
    assert read_settings(project(text)) == Settings()


def test_without_a_file_too(tmp_path: Path) -> None:
    assert read_settings(tmp_path) == Settings()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[tool.saebench]\ntolerance = {}", r"tolerance: Extra inputs .* Did you mean 'tolerances'\?"),
        ("[tool.saebench.tolerances]\nx = 'much'", r"tolerances\.x: .*number"),
        ("[tool.saebench.tolerances]\nx = -1", "tolerance of x must be a number of 0 or more"),
        ("[tool.saebench.tolerances]\nx = nan", "tolerance of x must be a number of 0 or more"),
        ("[[tool.saebench.acknowledged]]\nscore = 'x'\nuntil = 2026-01-01", "reason: Field required"),
        ("[[tool.saebench.acknowledged]]\nscore = 'x'\nreason = ''\nuntil = 2026-01-01", "reason: .* at least 1"),
        ("[[tool.saebench.acknowledged]]\nscore = 'x'\nreason = 'y'", "until: Field required"),
        ("[[tool.saebench.acknowledged]]\nscore = 'x'\nreason = 'y'\nuntil = 'soon'", "until: .*date"),
        ("[[tool.saebench.acknowledged]]\nscores = 'x'", r"Did you mean 'score'\?|score: Field required"),
        ("[tool.saebench", "is not TOML"),
    ],
)
def test_what_is_wrong_is_one_sentence(project: Any, text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        read_settings(project(text))
    assert "\n" not in str(caught.value)
    assert "pyproject.toml" in str(caught.value)


def test_a_pattern_that_matches_no_property_is_told() -> None:
    settings = Settings(tolerances={"absorbtion.*": 0.1})
    with pytest.raises(ValueError, match=r"names 'absorbtion\.\*'"):
        settings.check(["absorption.recall_hole"])
    Settings(tolerances={"absorption.*": 0.1}).check(["absorption.recall_hole"])


@pytest.mark.parametrize(
    ("text", "meets", "misses"),
    [("a.b>=.6", 0.6, 0.59), ("a.b <= 1e-1", 0.1, 0.11), ("a.b>-1", 0, -1), ("a.b<2", 1.9, 2.0)],
)
def test_demands(text: str, meets: float, misses: float) -> None:
    demand = Demand.parse(text)
    assert demand.missed(make_score(property="a.b", value=meets)) == ""
    line = demand.missed(make_score(property="a.b", value=misses))
    assert line.startswith("a.b[mine/topk] = ")
    assert f"demands {demand}" in line
    assert demand.missed(make_score(property="a.c", value=misses)) == ""


def test_a_demand_is_not_met_by_having_no_score() -> None:
    line = Demand.parse("a.b>=.6").missed(make_score(property="a.b", unscored="no letters"))
    assert line == "a.b[mine/topk] unscored, and --sae-min demands a.b>=0.600: no letters"


@pytest.mark.parametrize(
    "text", ["", "a.b", "a.b=.6", "a.b>=", "a.b>=x", ">=.6", "a.b>=.6>=.7", "a b>=1", "a.b>=1.2.3"]
)
def test_a_senseless_demand_is_one_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="expected a property, one of >= <= > <, and a number"):
        Demand.parse(text)


def test_a_demand_on_an_unknown_property_names_the_nearest() -> None:
    with pytest.raises(
        ValueError, match=r"no test of this run scores first_letter\.f2\. Did you mean 'first_letter\.f1'"
    ):
        check_known([Demand.parse("first_letter.f2>=.6")], ["first_letter.f1", "first_letter.recall"])


def judged(score: Score, baseline: Score | None, **gate: Any) -> Judgement:
    store = Store("nowhere.jsonl")
    rows = [] if baseline is None else [baseline]
    found = Gate(Baseline(rows, store), today=TODAY, **gate).judge(score, SUPPRESSION, store)
    assert found is not None
    return found


WORSE, GOOD = make_score(value=0.8, half=0.01), make_score(value=0.3, half=0.01)


def test_words_of_the_gate() -> None:
    assert judged(WORSE, GOOD).word == "worse"
    assert judged(GOOD, WORSE).word == "better"
    assert judged(GOOD, GOOD).word == "ok"
    assert judged(GOOD, None).word == "new"
    assert judged(GOOD, make_score(version=2)).word == "incomparable"
    assert judged(make_score(unscored="x"), GOOD).word == "unscored"
    assert [judged(*pair).fails for pair in ((WORSE, GOOD), (GOOD, WORSE), (GOOD, None))] == [True, False, False]


def test_what_is_no_longer_scored_is_told() -> None:
    assert "for which the baseline has 0.300" in judged(make_score(unscored="x"), GOOD).note
    assert judged(make_score(unscored="x"), None).note == ""


def test_a_project_may_allow_more(project: Any) -> None:
    slightly = make_score(value=0.45, half=0.01)
    assert judged(slightly, GOOD).fails
    assert judged(slightly, GOOD, settings=Settings(tolerances={"absorption.*": 0.2})).word == "ok"


def test_an_acknowledged_regression_holds_until_its_last_day(project: Any) -> None:
    settings = read_settings(project(KNOWN))
    known = judged(WORSE, GOOD, settings=settings)
    assert (known.word, known.fails) == ("acknowledged", False)
    assert known.line.endswith("acknowledged until 2026-12-31: trained on half of the tokens")
    store = Store("nowhere.jsonl")
    over = Gate(Baseline([GOOD], store), settings, today=TODAY + datetime.timedelta(days=1))
    late = over.judge(WORSE, SUPPRESSION, store)
    assert late is not None
    assert (late.word, late.fails) == ("worse", True)
    assert late.line.endswith("trained on half of the tokens, which is over")


def test_an_acknowledgement_that_is_no_longer_needed_is_told(project: Any) -> None:
    settings = read_settings(project(KNOWN))
    assert "acknowledged and no longer worse" in judged(GOOD, GOOD, settings=settings).note


def test_repetitions_and_runs_without_anything_to_hold_against_are_not_judged() -> None:
    store = Store("nowhere.jsonl")
    assert Gate().judge(WORSE, SUPPRESSION, store) is None
    assert Gate(Baseline([GOOD], store)).judge(make_score(value=0.8, seed=1), SUPPRESSION, store) is None


def test_counts_and_runs_in_which_nothing_was_compared() -> None:
    words: list[Any] = ["ok", "new", "ok", "worse"]
    judgements = [Judgement(word=word) for word in words]
    assert counted(judgements) == "gate: 2 ok, 1 worse, 1 new"
    assert counted([]) == ""
    assert not nothing_compared(judgements)
    assert nothing_compared([Judgement(word="new"), Judgement(word="incomparable")])
    assert not nothing_compared([])
