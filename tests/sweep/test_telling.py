"""A bar on a terminal, a line for each job in a log, and what will be done in a few lines."""

import io

import pytest

from saebench.sweep.plan import Left, plan, told
from saebench.sweep.planning import Job, Wanted
from saebench.sweep.results import Result
from saebench.sweep.telling import Progress
from saebench.sweep.worker import Outcome

JOBS = [Job(f"x-{number}", "m", "h", ("a", "b"), 100.0) for number in range(4)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def outcome(number: int, seconds: float = 50.0, *, sentence: str = "", failed: str = "") -> Outcome:
    return Outcome(JOBS[number], 0, sentence, (Result("a", "t", True, failed),), "here", seconds)


def test_a_log_has_a_line_for_each_job_and_how_long_the_others_take() -> None:
    out = io.StringIO()
    progress = Progress(JOBS, 2, out)
    progress.begin()
    progress.ended(outcome(0))
    progress.ended(outcome(1, sentence="killed"))
    progress.ended(outcome(2, failed="no"))
    progress.ended(outcome(3))
    assert out.getvalue().splitlines() == [
        "saebench: 1 of 4 jobs: x-0 on here, 2 SAEs, 1 scores, 50 seconds; about 75 seconds left",
        "saebench: 2 of 4 jobs: x-1 on here, 2 SAEs, 1 scores, 50 seconds, killed; about 50 seconds left",
        "saebench: 3 of 4 jobs: x-2 on here, 2 SAEs, 1 scores, 50 seconds, 1 tests failed; about 50 seconds left",
        "saebench: 4 of 4 jobs: x-3 on here, 2 SAEs, 1 scores, 50 seconds",
    ]


def test_jobs_that_run_have_less_before_them() -> None:
    out, now = io.StringIO(), iter([0.0, 0.0, 100.0])
    progress = Progress(JOBS[:2], 2, out, clock=lambda: next(now))
    progress.sent(JOBS[0])
    progress.sent(JOBS[1])
    progress.ended(outcome(0, 130.0))
    assert out.getvalue().endswith("; about 30 seconds left\n")


def test_a_terminal_has_one_bar_that_goes_away() -> None:
    out = Terminal()
    progress = Progress(JOBS, 2, out)
    progress.begin()
    assert out.getvalue() == f"\r\x1b[K[{'-' * 30}] 0 of 4 jobs"
    progress.ended(outcome(0))
    progress.say("x is tried again")
    assert f"\r\x1b[K[{'#' * 7}{'-' * 23}] 1 of 4 jobs; about 75 seconds left" in out.getvalue()
    assert "\r\x1b[Ksaebench: x is tried again\n" in out.getvalue()
    for number in (1, 2, 3):
        progress.ended(outcome(number))
    assert out.getvalue().endswith("\r\x1b[K")


@pytest.mark.parametrize("lacking", [[], ["2 SAEs, about 1.2 GB", "the model m"]])
def test_a_plan_says_how_many_what_is_downloaded_and_how_long(lacking: list[str]) -> None:
    wanted = [Wanted(f"s{number}", "m", f"h{number % 2}", 300.0) for number in range(4)]
    found = plan(Left(wanted, ["there"], {}), 2, "x-")
    lines = told(found, lacking)
    assert lines[0] == "SAEs: 4, hooks: 2, jobs: 4 on 2 workers; 1 SAEs are there already"
    assert lines[1:] == [
        "to be downloaded, where a machine lacks it: 2 SAEs, about 1.2 GB; the model m"
        if lacking
        else "nothing to download",
        "about 11 minutes",
    ]
    assert told(plan(Left([], ["there"], {}), 2, ""), []) == ["nothing to do: 1 SAEs are there already"]
