"""What a report says of each SAE, and what a log says where there is no report."""

from pathlib import Path

import pytest

from saebench.sweep.planning import Job
from saebench.sweep.results import Result, is_full, last_words, results
from saebench.sweep.telling import code_of, failures
from saebench.sweep.worker import Outcome

REPORT = """<?xml version="1.0"?><testsuites><testsuite>
<testcase classname="s" name="test_f1[a/b-letters]"><properties><property name="saebench_score" value="{}"/></properties></testcase>
<testcase classname="s" name="test_f1[a/b-wide]"><failure message="Failed: a/b-wide cannot be read:&#10;why">x</failure></testcase>
<testcase classname="s" name="test_f1[a/b]"><error message="boom">x</error></testcase>
<testcase classname="s" name="test_other"><skipped message="no"/></testcase>
</testsuite></testsuites>"""
JOB = Job("x-0001", "m", "h", ("a/b", "a/b-wide"), 1.0)


def outcome(code: int = 0, *found: Result, sentence: str = "", job: Job = JOB) -> Outcome:
    return Outcome(job, code, sentence, found)


def test_a_report_says_which_sae_has_which_score(tmp_path: Path) -> None:
    path = tmp_path / "r.xml"
    path.write_text(REPORT)
    assert results(path, ["a/b", "a/b-wide"]) == [
        Result("a/b", "test_f1", True, ""), Result("a/b-wide", "test_f1", False, "a/b-wide cannot be read:"),
        Result("a/b", "test_f1", False, "boom"), Result("", "test_other", False, ""),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", REPORT[:300], "<a", "no"])
def test_a_report_that_was_not_finished_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.xml").write_text(text)
    assert results(tmp_path / "r.xml", ["a/b"]) == []
    assert results(tmp_path / "none.xml", ["a/b"]) == []


@pytest.mark.parametrize(
    ("log", "code", "said"),
    [
        ("x\nERROR: --sae foo: no such SAE.\n\n", 4, "--sae foo: no such SAE."),
        ("1 passed\n!!!!! _pytest.outcomes.Exit: s.jsonl: No space left on device !!!!!\n=== 1 passed ===", 4, "s.jsonl: No space left on device"),
        ("Traceback\nImportError: no torch\n", 1, "ImportError: no torch"), ("", 3, "its process ended with 3"),
        ("ERROR: x", -9, "its process was killed by signal 9"), ("", 137, "its process was killed by signal 9"),
    ],
)  # fmt: skip
def test_the_last_words_of_a_run(tmp_path: Path, log: str, code: int, said: str) -> None:
    (tmp_path / "l.log").write_text(log)
    assert last_words(tmp_path / "l.log", code) == said
    assert last_words(tmp_path / "none.log", 4) == "its process ended with 4 and left no log"


def test_a_full_disk_and_a_killed_process_are_tried_again_and_nothing_else() -> None:
    assert is_full("a.jsonl: a score cannot be written: No space left on device")
    full = Result("a/b", "t", False, "[Errno 27] File too large")
    again = [outcome(-9), outcome(137), outcome(4, sentence="x: Disk quota exceeded"), outcome(1, full)]
    assert all(one.again for one in again)
    assert not any(one.again for one in (outcome(0), outcome(1), outcome(4, sentence="no such SAE"), outcome(5)))


def test_the_table_says_each_sentence_once_for_an_sae() -> None:
    wrong = Result("a/b", "t", False, "cannot be read")
    killed = outcome(-9, sentence="killed")
    rows = failures([outcome(1, wrong, wrong), killed], {"f.jsonl": "they contradict each other"})
    assert rows == [
        ["a/b", "2", "cannot be read"], ["a/b and 1 more (x-0001)", "all", "killed"],
        ["f.jsonl", "all", "they contradict each other"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("codes", "failed", "code"),
    [([], False, 0), ([0, 0], False, 0), ([0, 1], True, 1), ([4, 4], True, 4), ([0, 4], True, 1), ([5], False, 5), ([-9], True, 1)],
)  # fmt: skip
def test_exit_codes_are_those_of_one_run(codes: list[int], failed: bool, code: int) -> None:
    assert code_of([outcome(each) for each in codes], failed) == code
