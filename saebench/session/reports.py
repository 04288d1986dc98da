"""What a run shows of its tests: the score where PASSED would stand, the last lines, the exit code."""

from typing import TYPE_CHECKING, Any

import pytest

from saebench.boards.architectures_table import architectures_table
from saebench.compare.judging import Judgement, nothing_compared
from saebench.record.naming import shown
from saebench.record.score import Score
from saebench.session.errors import is_worker
from saebench.session.reasons import Reasons
from saebench.session.reported import judgement_of, notes_of, score_of, unreadable_of
from saebench.session.step_summary import write_summary
from saebench.session.summary import status_word, summary

if TYPE_CHECKING:
    from saebench.session.suite_run import SuiteRun


class Reports:
    """Gathers what the tests' reports carry, also from workers."""

    def __init__(self, suite_run: "SuiteRun") -> None:
        self.suite_run = suite_run
        self.scores: list[Score] = []
        self.reasons = Reasons()
        self.judgements: list[Judgement] = []
        self.notes: dict[str, None] = {}
        self.unreadable: dict[str, None] = {}
        self.lost = ""

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, Any] | None:
        """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_report_teststatus"""
        score = score_of(report)
        if score is None or report.when != "call" or report.outcome == "failed":
            return None
        if score.value is None:
            return "unscored", "u", (shown(self.reasons.word(score.unscored_reason or "")), {"yellow": True})
        judgement = judgement_of(report)
        if judgement is not None and judgement.word == "acknowledged":
            return "acknowledged", "a", (f"{status_word(score)}  {judgement.line}", {"yellow": True})
        return "passed", ".", (status_word(score, judgement), {"green": True})

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_runtest_logreport"""
        score = score_of(report)
        if score is not None and report.when == "call":
            self.scores.append(score)
            self.judgements += [found] if (found := judgement_of(report)) is not None else []
            self.notes |= dict.fromkeys(notes_of(report))
        self.unreadable |= dict.fromkeys(unreadable_of(report))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_sessionfinish"""
        nothing = self.suite_run.expected and not any(score.value is not None for score in self.scores)
        nothing = nothing or nothing_compared(self.judgements)
        run = self.suite_run.run
        if run is not None and self.scores and not is_worker(session.config):
            self.lost = run.store.lost(self.scores)
        if not is_worker(session.config):
            write_summary(self.scores, self.judgements)
        if (
            (nothing or self.lost)
            and session.exitstatus == pytest.ExitCode.OK
            and not session.config.option.collectonly
        ):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if self.unreadable and not self.scores and session.exitstatus == pytest.ExitCode.TESTS_FAILED:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR  # as for a name or a file that is wrong

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_terminal_summary"""
        run = self.suite_run.run
        if run is None or not self.suite_run.expected or self.suite_run.config.option.collectonly:
            return
        notes = [*self.notes, *self.unreadable, *filter(None, [self.lost])]
        for line in summary(self.scores, self.judgements, notes, self.suite_run.expected, str(run.store.path)):
            terminalreporter.write_line(line)
        for line in architectures_table(self.scores, self.suite_run.gate.baseline):
            terminalreporter.write_line(line)
