"""What a run is busy with, and how long it took before."""

import json
from pathlib import Path

import pytest
from factories import make_score

from saebench.record.durations import KEPT, Durations, in_words
from saebench.record.stages import current, progress, stage


def test_the_innermost_stage_is_told_with_how_far_it_is() -> None:
    assert current() is None
    progress(1, 2)  # of nothing
    with stage("reading words"):
        progress(0, 1)
        assert current() == "reading words"
        progress(1, 4)
        with stage("loading"):
            assert current() == "loading"
        assert current() == "reading words, 25%"
    assert current() is None


def test_a_stage_that_fails_is_over() -> None:
    with pytest.raises(ZeroDivisionError), stage("dividing"):
        1 / 0  # noqa: B018
    assert current() is None


def test_what_tests_took_is_remembered_per_property_budget_and_model(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "durations.json"
    Durations(path).add([
        make_score(property="a.x", budget="quick", seconds=2.0), make_score(property="a.x", budget="quick", seconds=4.0),
        make_score(property="a.y", budget="full", seconds=50.0),
        make_score(property="a.z", budget="quick", seconds=9.0).model_copy(update={"cached": True}),
    ])  # fmt: skip
    known = Durations(path)
    assert known.expected(["a.x", "a.x", "a.y"], "quick", "organism") == (6.0, 1)
    assert known.expected(["a.y"], "full", "organism") == (50.0, 0)
    assert known.expected(["a.x"], "quick", "gpt2") == (0, 1)
    assert known.expected(["a.z"], "quick", "organism") == (0, 1)


def test_only_the_latest_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "durations.json"
    for seconds in range(KEPT + 3):
        Durations(path).add([make_score(property="a.x", budget="quick", seconds=float(seconds))])
    ((_, values),) = json.loads(path.read_text()).items()
    assert values == [float(seconds) for seconds in range(3, KEPT + 3)]


@pytest.mark.parametrize("held", ["", "[]", "{", '{"a": 3}', '{"a": ["x"]}', "\x00"])
def test_a_damaged_file_is_as_none(tmp_path: Path, held: str) -> None:
    path = tmp_path / "durations.json"
    path.write_text(held)
    assert Durations(path).expected(["a.x"], "quick", "organism") == (0, 1)
    Durations(path).add([make_score(property="a.x", budget="quick", seconds=1.0)])
    assert Durations(path).expected(["a.x"], "quick", "organism") == (1.0, 0)


def test_where_nothing_can_be_written_a_run_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    Durations(tmp_path / "file" / "durations.json").add([make_score(seconds=1.0)])


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 second"), (40, "40 seconds"), (240, "4 minutes"), (9000, "2.5 hours")]
)
def test_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
