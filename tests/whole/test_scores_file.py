"""What a run does with its scores file: it looks before it measures, changes nothing that is not its own, and tells a loss."""

import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from factories import make_score
from hostile import limited
from project import project, run  # noqa: F401

from saebench.record.lines import Line
from saebench.record.store import Store

HARM = """
import pathlib, pytest
from saebench.metrics import reconstruction

@pytest.mark.score("reconstruction.fvu", 1, "lower", "fraction")
def test_fvu(trace, record):
    record(reconstruction.fvu(trace))

@pytest.mark.score("reconstruction.cosine", 1, "higher", "cosine")
def test_cosine(trace, record):
    {harm}
    record(reconstruction.cosine(trace))
"""


@pytest.mark.parametrize("content", [b"buy milk", b"[1,\n2", bytes(2000), b"a,b\r1,2\r"])
@pytest.mark.parametrize("option", [(), ("--collect-only",), ("--sae-fresh",)])
def test_notes_are_refused_before_anything_is_measured(project: Any, content: bytes, option: tuple[str, ...]) -> None:  # noqa: F811
    path = project.path / "notes.txt"
    path.write_bytes(content)
    result = run(project, *option, file="notes.txt")
    assert result.ret == 4
    assert path.read_bytes() == content
    assert not (project.path / "computed.txt").exists()
    assert "notes.txt, line 1 is not a score" in result.stdout.str() + result.stderr.str()
    assert not list(project.path.glob("notes*.*.*"))


def test_a_torn_line_is_not_touched_by_a_look_and_moved_aside_by_a_run(project: Any) -> None:  # noqa: F811
    path = project.path / "s.jsonl"
    torn = make_score().to_line()[:200]
    path.write_text(f"{make_score().to_line()}\n{torn}")
    before = path.read_bytes()
    assert run(project, "--collect-only").ret == 0
    assert path.read_bytes() == before
    result = run(project)
    assert result.ret == 0
    assert (project.path / "s.jsonl.torn-1").read_text() == torn
    told = [line for line in result.stdout.lines if "it is in s.jsonl.torn-1 now" in line]
    assert len(told) == 1
    assert len(Store(path).read()) == 4


@pytest.mark.parametrize("kind", ["device", "pipe", "folder", "below a file", "lock", "items", "long", "sys"])
def test_where_no_score_can_be_written_is_noticed_before_the_first(project: Any, kind: str) -> None:  # noqa: F811
    place = project.path / "s.jsonl"
    match kind:
        case "device":
            place = Path("/dev/full")
        case "pipe":
            os.mkfifo(place)
        case "folder":
            place.mkdir()
        case "below a file":
            (project.path / "file").touch()
            place = project.path / "file" / "s.jsonl"
        case "lock":
            os.mkfifo(f"{place}.lock")
        case "items":
            (project.path / "s.items").touch()
        case "long":
            place = project.path / ("s" * 300)
        case "sys":
            place = Path("/sys/s.jsonl")
    with limited(20, 10_000):
        result = run(project, file=str(place))
    assert result.ret == 4
    assert not (project.path / "computed.txt").exists()
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize(
    ("harm", "gone"),
    [
        ('pathlib.Path("s.jsonl").unlink()', 1),
        ('pathlib.Path("s.jsonl").write_text("")', 1),
        ('pathlib.Path("new").write_text(""); pathlib.Path("new").replace("s.jsonl")', 1),
        ("pass", 0),
    ],
)
def test_scores_that_vanish_during_a_run_make_it_red(project: Any, harm: str, gone: int) -> None:  # noqa: F811
    (project.path / "suites" / "test_small.py").write_text(HARM.replace("{harm}", harm))
    result = run(project)
    assert result.ret == (1 if gone else 0)
    told = [line for line in result.stdout.lines if "scores were recorded, and " in line]
    assert len(told) == (1 if gone else 0)
    assert all(
        "2 scores were recorded, and 1 of them are not in s.jsonl: it was deleted or changed" in line for line in told
    )
    assert len(Store(project.path / "s.jsonl").read()) == 2 - gone


def test_a_gate_says_that_items_of_its_baseline_are_damaged(project: Any) -> None:  # noqa: F811
    assert run(project, sae="my_saes:shrunk", file="base.jsonl").ret == 0
    base = Store(project.path / "base.jsonl")
    rows = [
        Store(project.path / "bad.jsonl").append(
            score, {name: np.concatenate([[np.nan], array[1:]]) for name, array in base.load_items(score).items()}
        )
        for score in base.read()
    ]
    assert len(rows) == 3
    whole = run(project, "--sae-baseline", "base.jsonl", sae="my_saes:more_shrunk", file="a.jsonl")
    assert whole.ret == 1
    result = run(
        project, "--sae-baseline", "bad.jsonl", "--junitxml", "junit.xml", sae="my_saes:more_shrunk", file="a.jsonl"
    )
    assert result.ret == 1, "nothing could be compared"
    result.stdout.fnmatch_lines(["*incomparable reconstruction.fvu*: *bad.items*holds what is not finite*"])
    result.stdout.fnmatch_lines(["saebench: gate: 3 incomparable: nothing could be compared with the baseline"])
    ElementTree.parse(project.path / "junit.xml")


def test_names_in_a_stored_score_steer_neither_the_terminal_nor_junit(project: Any) -> None:  # noqa: F811
    assert run(project).ret == 0
    path = project.path / "s.jsonl"
    text = "\u202eevil\u2066"
    path.write_text(
        "".join(
            score.model_copy(
                update={"value": None, "ci_low": None, "ci_high": None, "unscored_reason": text, "unit": text}
            ).to_line()
            + "\n"
            for score in Store(path).read()
        )
    )
    result = run(project, "--junitxml", "junit.xml")
    seen = result.stdout.str() + (project.path / "junit.xml").read_text(encoding="utf-8")
    assert "\\u202eevil" in seen
    assert "\u202e" not in seen


def test_lines_have_ends(tmp_path: Path) -> None:
    assert Line(1, 10, b"abc").end == 13
