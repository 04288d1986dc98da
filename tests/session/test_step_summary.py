"""What a CI's page shows of a run."""

from pathlib import Path

import pytest
from factories import make_score

from saebench.compare.judging import Judgement
from saebench.session.step_summary import VARIABLE, step_summary, write_summary

F1 = {"property": "first_letter.f1", "better": "higher"}


def test_it_has_the_first_table_and_what_is_not_evaluable() -> None:
    scores = [
        make_score(sae="mine/a", value=0.5, half=0.01, **F1),
        make_score(sae="mine/b", unscored="too | few", **F1),
    ]
    text = step_summary(scores, [])
    assert "1 of 2 tests have a score." in text
    assert "| SAE    |   L0 |   first_letter.f1 ↑ |" in text
    assert "| mine/a | 16.0 |        0.500 ±0.010 |" in text
    assert "- unscored, 1 test of first_letter.f1 \\[mine/b\\]: too \\| few" in text
    assert "baseline" not in text


@pytest.mark.parametrize(
    ("word", "told"), [("worse", "- **worse**: it fell"), ("ok", "Nothing is worse than the baseline")]
)
def test_what_the_gate_found_stands_first(word: str, told: str) -> None:
    text = step_summary([make_score(**F1)], [Judgement(word=word, line="it fell", fails=word == "worse")])
    assert told in text.partition("| SAE")[0]


def test_it_is_appended_where_a_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "summary.md"
    path.write_text("before\n")
    monkeypatch.setenv(VARIABLE, str(path))
    write_summary([make_score(**F1)], [])
    assert path.read_text().startswith("before\n## saebench\n")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere" / "summary.md"))
    write_summary([make_score(**F1)], [])
    monkeypatch.delenv(VARIABLE)
    write_summary([make_score(**F1)], [])
