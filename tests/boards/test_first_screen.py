"""What a reader sees first: a table of the SAEs with a column per question, and one picture."""

import re
from pathlib import Path
from typing import Any

import pytest
from factories import make_score
from paths import ROOT

from saebench.boards.board import tables
from saebench.boards.first_screen import MOST_ROWS, summarised
from saebench.boards.forest import forest
from saebench.boards.leaderboard import render
from saebench.boards.pictures import first_picture
from saebench.boards.plot import styled, svg
from saebench.boards.scatter import looks
from saebench.catalogue.suites import definitions, headlines
from saebench.record.score import Score

ASKED = ("reconstruction.fvu", "first_letter.f1")


def fvu(sae: str, value: float | None = 0.2, **other: Any) -> Score:
    if value is None:
        other = {"unscored": "no tokens at 12 words", **other}
    return make_score(**{"property": "reconstruction.fvu", "sae": sae, "value": value, "half": 0.01, **other})


def f1(sae: str, value: float | None = 0.5, **other: Any) -> Score:
    return fvu(sae, value, property="first_letter.f1", better="higher", **other)


def control(score: Score) -> Score:
    return score.model_copy(update={"control": True})


def page(*scores: Score, **options: Any) -> str:
    return render(list(scores), title="Zoo", command="c", **{"headlines": ASKED, **options})


def first(text: str) -> str:
    """All that stands before what is folded."""
    return text.partition("<details>")[0]


def names(text: str) -> list[str]:
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    return [name for name in rows if name != "SAE"]


def test_a_column_per_question_and_a_row_per_sae_that_is_no_control() -> None:
    other = fvu("a", property="reconstruction.l0", better="neither")
    text = first(page(fvu("a", 0.1), fvu("b", 0.3), control(fvu("c")), f1("a"), f1("b", None), other))
    assert "| SAE   |   L0 |   reconstruction.fvu ↓ |   first_letter.f1 ↑ |" in text
    assert names(text) == ["a", "b"]
    assert "**0.100 ±0.010** (1)" in text
    assert "0.300 ±0.010 (2)" in text
    assert "—¹" in text
    assert "¹ no tokens at 12 words" in text


def test_columns_stand_in_the_order_of_the_questions_and_what_was_not_measured_has_none() -> None:
    assert re.findall(r"(\w+\.\w+) [↑↓]", first(page(f1("a"), fvu("a")))) == list(ASKED)
    assert re.findall(r"(\w+\.\w+) [↑↓]", first(page(f1("a")))) == ["first_letter.f1"]


def test_of_a_property_with_parameters_the_first_column_stands_for_it() -> None:
    several = [fvu("a", value, params={"source": source}) for source, value in (("description", 0.2), ("texts", 0.9))]
    text = first(page(*several))
    assert "0.200" in text
    assert "0.900" not in text


def test_ranks_are_those_among_all_saes_also_where_few_are_shown() -> None:
    saes = [fvu(f"s{i:02}", 9.0 - 0.2 * i) for i in range(MOST_ROWS + 3)]
    text = first(page(*saes))
    assert len(names(text)) == MOST_ROWS
    assert "… and 3 more SAEs: below." in text
    assert f"({len(saes)})" in text
    assert len(text.splitlines()) < 40


def test_nothing_but_controls_are_the_rows_then() -> None:
    assert names(first(page(control(fvu("a")), control(fvu("b"))))) == ["a", "b"]


def test_a_property_that_fails_its_card_is_marked_there_too() -> None:
    text = first(page(fvu("a"), failing={"reconstruction.fvu": ["order"]}))
    assert "reconstruction.fvu ↓ ⚠" in text
    assert "⚠ reconstruction.fvu fails on the [reliability card](reliability.md): order" in text


def test_without_headlines_there_is_no_first_table() -> None:
    assert names(first(page(fvu("a"), headlines=()))) == []


def test_columns_without_any_score_leave_the_tables_below_with_their_reasons() -> None:
    text = page(fvu("a"), fvu("b"), fvu("a", None, property="reconstruction.ce"), headlines=())
    assert "No SAE has a score of **ce**¹ ²" in text
    assert "¹ no tokens at 12 words\n\n² not measured\n" in text
    assert not re.search(r"^\| SAE.* ce ", text, re.MULTILINE)


def test_every_suite_but_that_of_speed_has_a_headline_and_it_is_a_property_of_it() -> None:
    suites = ROOT / "suites"
    found = headlines(suites)
    assert set(found) <= set(definitions(suites))
    asked = {path.stem.removeprefix("test_") for path in suites.glob("test_*.py")} - {"throughput"}
    assert sorted(name.partition(".")[0] for name in found) == sorted(asked)
    assert found[0] == "reconstruction.recovered_zero"


def test_headlines_are_read_from_the_suites_in_their_order(tmp_path: Path) -> None:
    mark = '@pytest.mark.score("{}", 1, "lower", "x", headline={})\ndef test_{}(): ...\n'
    (tmp_path / "test_a.py").write_text(mark.format("own.late", True, "a") + mark.format("own.none", False, "b"))
    (tmp_path / "test_b.py").write_text(mark.format("reconstruction.early", True, "c"))
    assert headlines(tmp_path) == ["reconstruction.early", "own.late"]


# The picture


def drawn(*scores: Score) -> dict[str, Any] | None:
    table = summarised(tables(list(scores)), ASKED)
    return forest(table, looks(scores)) if table else None


def test_a_panel_per_question_and_a_point_per_score() -> None:
    spec = drawn(fvu("a", 0.1), fvu("b", 0.3), control(fvu("c")), f1("a"), f1("b", None))
    assert spec is not None
    panels = spec["concat"]
    assert [panel["title"]["text"] for panel in panels] == list(ASKED)
    assert [[value["name"] for value in panel["data"]["values"]] for panel in panels] == [["a", "b"], ["a"]]
    assert panels[0]["data"]["values"][0] | {"kind": ""} == {
        "name": "a",
        "kind": "",
        "x": 0.1,
        "low": 0.09,
        "high": 0.11,
    }
    assert "<svg" in svg(styled(spec))


@pytest.mark.parametrize("scores", [[], [f1("a", None)], [fvu("a", property="x.y")]])
def test_no_picture_where_it_would_be_empty(scores: list[Score]) -> None:
    assert first_picture(scores, "zoo", ASKED) == ({}, {})


def test_one_score_is_a_picture() -> None:
    files, words = first_picture([fvu("a")], "zoo", ASKED)
    assert list(files) == ["zoo.pictures/questions.svg"]
    assert "](zoo.pictures/questions.svg)" in words[""]


def test_a_reason_is_told_once_on_a_page_with_how_many_scores_it_holds_for() -> None:
    names = ("absorption.a", "absorption.b", "marginal_structure.c", "first_letter.f1")
    text = page(*(fvu(sae, None, property=name) for sae in "ab" for name in names), fvu("a"), fvu("b"))
    assert text.count("no tokens at 12 words") == 1
    assert "¹ no tokens at 12 words (8 scores)" in first(text)
