"""What a job's tests came to, as pytest's own report has it (`--junitxml`)."""

import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from saebench.record.naming import shown

SCORE = "saebench_score"
"""The property of a test's report in which its score stands."""
FULL = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
"""What the system says where a disk has no room."""
MARKS = ("ERROR: ", "outcomes.Exit: ")
"""What pytest writes before the one sentence that a run ends with."""
LAST = 20_000
"""Bytes of a log in which its last sentence is looked for."""


@dataclass(frozen=True)
class Result:
    """One test of one SAE."""

    sae: str
    test: str
    scored: bool
    """Whether it has a score, or the recorded reason why there is none."""
    failed: str
    """Why it failed, in a sentence; empty where it did not."""


def results(report: Path, saes: Sequence[str]) -> list[Result]:
    """Of each test that was run; none where the report was not written."""
    try:
        root = ElementTree.parse(report).getroot()
    except (OSError, ElementTree.ParseError):
        return []
    return list(_results(root, sorted(saes, key=len, reverse=True)))


def _results(root: ElementTree.Element, saes: Sequence[str]) -> Iterator[Result]:
    for case in root.iter("testcase"):
        test, _, parameters = case.get("name", "").partition("[")
        sae = sae_of(parameters.removesuffix("]"), saes)
        scored = any(each.get("name") == SCORE for each in case.iter("property"))
        wrong = [each.get("message") or "" for each in case if each.tag in ("failure", "error")]
        yield Result(sae, test, scored, _first_line(wrong[0]) if wrong else "")


def sae_of(parameters: str, saes: Sequence[str]) -> str:
    """The SAE that a test's parameters begin with, of those that are asked for, the longest names first."""
    return next((name for name in saes if f"{parameters}-".startswith(f"{shown(name)}-")), "")


def _first_line(message: str) -> str:
    text = next(iter(message.strip().splitlines()), "")
    return shown(text.removeprefix("Failed: ")) or "it failed"


def last_words(log: Path, code: int) -> str:
    """Why a run ended that has no report: the error that pytest names, or the last that it said."""
    if code < 0 or code > 128:
        return f"its process was killed by signal {-code if code < 0 else code - 128}"
    try:
        said = [line.strip() for line in _end(log).splitlines() if line.strip()]
    except OSError:
        return f"its process ended with {code} and left no log"
    errors = [line.strip("! ").partition(mark)[2] for line in said for mark in MARKS if mark in line]
    return shown((errors or said or [f"its process ended with {code}"])[-1].strip())


def _end(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LAST))
        return file.read().decode(errors="replace")


def is_full(sentence: str) -> bool:
    """Whether it says that a disk has no room."""
    return any(said in sentence for said in FULL)
