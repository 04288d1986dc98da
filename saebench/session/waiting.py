"""What a run says before and while it computes: how long it may take, and what it is busy with."""

import contextlib
from collections import Counter
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from saebench.catalogue.suites import tests
from saebench.record.durations import Durations, in_words
from saebench.record.naming import shown
from saebench.record.places import suites_dir
from saebench.record.stages import current
from saebench.session.errors import is_worker
from saebench.session.heartbeat import Heartbeat
from saebench.session.reports import Reports

if TYPE_CHECKING:
    from saebench.session.suite_run import SuiteRun


class Waiting:
    """Hooks that tell the heartbeat what is printed, and remember how long things took. Workers of xdist have none."""

    def __init__(self, suite_run: "SuiteRun", reports: Reports) -> None:
        self.suite_run, self.reports = suite_run, reports
        self.heartbeat: Heartbeat | None = None
        self.running: Counter[str] = Counter()
        """Tests that were begun and have no result yet."""

    @property
    def alone(self) -> bool:
        return self.suite_run.asked_for and not is_worker(self.suite_run.config)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_runtestloop"""
        reporter: Any = session.config.pluginmanager.getplugin("terminalreporter")
        if self.alone and reporter is not None and not session.config.option.collectonly:
            self._estimate(reporter, [item.nodeid for item in session.items])
            with contextlib.suppress(OSError):  # without a standard output there is no one to tell
                self.heartbeat = Heartbeat(reporter, self._busy_with)
                self.heartbeat.start()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """https://github.com/pytest-dev/pytest-xdist/blob/master/src/xdist/newhooks.py"""
        if self.heartbeat is not None and self.reports.scores == [] and not self.running:
            self._estimate(self.heartbeat.reporter, ids)

    def _estimate(self, reporter: Any, ids: Sequence[str]) -> None:
        """How long it may take, by what was measured here before; at most, since scores may be there already."""
        run = self.suite_run.run
        if run is None or not ids:
            return
        known = {test.rpartition("/")[2]: name for name, nodes in tests(suites_dir()).items() for test in nodes}
        asked = [known.get(one.partition("[")[0].rpartition("/")[2]) for one in ids]
        names = [name for name in asked if name is not None]
        try:
            model = run.models.name(run.specs[0])
        except (ValueError, OSError, IndexError):
            return
        workers = getattr(self.suite_run.config.option, "numprocesses", None) or 1
        seconds, unknown = Durations().expected(names, run.options.budget, model)
        if seconds:
            rest = f"; {unknown} of {len(ids)} tests were never measured here" if unknown else ""
            about = in_words(seconds / workers)
            reporter.write_line(
                shown(f"saebench: {len(ids)} tests, about {about} by what was measured here before{rest}")
            )

    def _busy_with(self) -> str | None:
        """The innermost stage; where workers have it in their processes, the tests that they run."""
        return current() or (", ".join(shown(test.rpartition("::")[2]) for test in self.running) or None)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> Generator[None]:
        """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_runtest_logstart"""
        self.running[nodeid] += 1
        if self.heartbeat is not None:
            self.heartbeat.begun()
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None]:
        """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_runtest_logreport"""
        if report.when == "teardown":
            self.running.pop(report.nodeid, None)
        if self.heartbeat is not None:
            self.heartbeat.heard()
        return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_sessionfinish"""
        if self.heartbeat is not None:
            self.heartbeat.stop()
            Durations().add(self.reports.scores)
