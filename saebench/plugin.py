"""The pytest face: options, status words, summary, exit codes. Only this file and `pytest_fixtures` know pytest."""

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from saebench.gating import Gate, Judgement, nothing_compared
from saebench.listing import listed
from saebench.matched_table import architectures_table
from saebench.naming import shown
from saebench.options import add_options
from saebench.properties import Property, from_marker
from saebench.reported import (
    JUDGEMENT,
    NOTES,
    SCORE,
    carried,
    judgement_of,
    notes_of,
    params_of,
    repetition_of,
    score_of,
    spec_of,
)
from saebench.requested import check_gate, header, requested_gate, requested_run
from saebench.run import Run
from saebench.score import Estimate, Score, Unscored
from saebench.statistics import repeated
from saebench.summary import status_word, summary

RUN = pytest.StashKey["SuiteRun"]()
PROPERTY = pytest.StashKey[Property]()
PENDING = pytest.StashKey[Unscored | Score]()
RECORDED = pytest.StashKey[Score]()
pytest_plugins = ["saebench.pytest_fixtures"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_addoption"""
    add_options(parser.getgroup("saebench", "benchmark sparse autoencoders").addoption)


def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_cmdline_main"""
    pattern = config.getoption("sae_list")
    if pattern is None:
        return None
    with usage_errors(pytest.UsageError):
        print(listed(pattern))
    return 0


def pytest_configure(config: pytest.Config) -> None:
    """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_configure"""
    config.addinivalue_line("markers", "score(property, version, better, unit, …): the property that a test scores")
    suite_run = SuiteRun(config)
    config.stash[RUN] = suite_run
    config.pluginmanager.register(suite_run, "saebench.run")
    if suite_run.asked_for:
        suite_run.prepare()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_generate_tests"""
    own = [str(marker.args[0]) for marker in metafunc.definition.iter_markers("parametrize") if marker.args]
    if "sae" in metafunc.fixturenames and not any("sae" in names.replace(",", " ").split() for names in own):
        specs = metafunc.config.stash[RUN].prepare().specs
        metafunc.parametrize("sae", specs, ids=[shown(spec.name) for spec in specs], indirect=True, scope="session")
        if (seeds := metafunc.config.getoption("sae_seeds")) > 1:
            names = [f"seed{number}" for number in range(seeds)]
            metafunc.parametrize("repetition", range(seeds), ids=names, indirect=True, scope="session")


class SuiteRun:
    """Hooks that run per test. Their state is one `Run`, made when the first test asks for an SAE."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.run: Run | None = None
        self.gate = Gate()
        self.known: set[str] = set()
        self.expected = 0
        self.lost = ""
        self.scores: list[Score] = []
        self.judgements: list[Judgement] = []
        self.notes: dict[str, None] = {}
        self.started: dict[str, float] = {}

    @property
    def asked_for(self) -> bool:
        suites = any("suites" in str(argument) for argument in self.config.args)
        return suites or any(self.config.getoption(name) for name in ("sae", "sae_arch", "sae_baseline"))

    def prepare(self) -> Run:
        """Resolve every name before anything heavy is loaded; what is wrong is one sentence and exit code 4."""
        if self.run is None:
            with usage_errors(pytest.UsageError):
                self.gate = requested_gate(self.config.getoption, self.config.rootpath)
                self.run = requested_run(self.config.getoption)
            self._be_verbose()
        return self.run

    def _be_verbose(self) -> None:
        """The score stands where PASSED would, which only a line per test shows; and one table is enough."""
        if self.config.option.verbose == 0:
            self.config.option.verbose = 1
        if hasattr(self.config.option, "benchmark_quiet"):
            self.config.option.benchmark_quiet = True

    def pytest_report_header(self) -> list[str]:
        """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_report_header"""
        lines = header(self.run, self.gate, self.config.getoption) if self.run is not None else []
        return [shown(line, 2_000) for line in lines]

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_collection_modifyitems"""
        for item in items:
            marker = item.get_closest_marker("score")
            if marker is not None:
                with usage_errors(pytest.UsageError):
                    item.stash[PROPERTY] = from_marker(marker.args, marker.kwargs, item.nodeid)
                self.expected += 1
        with usage_errors(pytest.UsageError):
            self._check_gate([item for item in items if PROPERTY in item.stash])

    def _check_gate(self, chosen: list[pytest.Item]) -> None:
        """What the gate names must be there, and it must know how many scores are compared."""
        if self.known:
            check_gate(self.gate, self.known)
        compared = sum(self.gate.compares(item.stash[PROPERTY], params_of(item)) for item in chosen)
        self.gate = replace(self.gate, family=max(1, compared))

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_itemcollected"""
        marker = item.get_closest_marker("score")
        if marker is not None and marker.args:
            self.known.add(str(marker.args[0]))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_runtest_protocol"""
        with repeated(repetition_of(item)):
            return (yield)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """https://github.com/pytest-dev/pytest-xdist/blob/master/src/xdist/newhooks.py"""
        self.expected = len(ids) if self.asked_for else 0

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self, specs: Sequence[object]) -> None:
        """https://github.com/pytest-dev/pytest-xdist/blob/master/src/xdist/newhooks.py"""
        if self.asked_for:
            from saebench.scheduling import share_cores

            share_cores(len(specs))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """https://github.com/pytest-dev/pytest-xdist/blob/master/src/xdist/newhooks.py"""
        if self.run is None or config.getoption("dist") != "load":  # what `-n` alone stands for
            return None
        from saebench.scheduling import BySAE

        return BySAE(config, log, [spec.name for spec in self.run.specs])

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_sessionstart"""
        self._fetch(session)  # before pytest-xdist starts its workers, and before anything is collected

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_runtestloop"""
        self._fetch(session)  # where a test outside the suites was the first to ask for an SAE

    def _fetch(self, session: pytest.Session) -> None:
        # Once for all workers of pytest-xdist, and in sight: a download has a progress bar.
        if (
            self.run is not None
            and not session.config.option.collectonly
            and not hasattr(session.config, "workerinput")
        ):
            capture: Any = session.config.pluginmanager.getplugin("capturemanager")
            with capture.global_and_fixture_disabled(), usage_errors(pytest.UsageError):
                self.run.store.check_writable()
                self.run.prepare(lambda line: print(f"saebench: {shown(line)}", flush=True))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None]:
        """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_runtest_setup"""
        self.started[item.nodeid] = time.perf_counter()
        if PROPERTY in item.stash:
            self._resume(item)
        try:
            return (yield)
        except Unscored as reason:
            if PROPERTY not in item.stash:
                raise
            item.stash[PENDING] = reason

    def _resume(self, item: pytest.Item) -> None:
        """A score that is stored already needs no SAE, no model and no test body."""
        with usage_errors():
            stored = self.prepare().found(item.stash[PROPERTY], spec_of(item), params_of(item))
        if stored is not None:
            item.stash[PENDING] = stored.model_copy(update={"cached": True})
            item.fixturenames = []  # type: ignore[attr-defined]

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_pyfunc_call"""
        if PENDING not in pyfuncitem.stash:
            return None
        self.conclude(pyfuncitem, pyfuncitem.stash[PENDING])
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None]:
        """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_runtest_call"""
        try:
            yield
        except Unscored as reason:
            if PROPERTY not in item.stash:
                raise
            self.conclude(item, reason)
        if PROPERTY in item.stash and RECORDED not in item.stash:
            pytest.fail(f"{item.nodeid} recorded no score", pytrace=False)

    def conclude(self, item: pytest.Item, outcome: Estimate | Unscored | Score) -> None:
        """Store the score, hand it to the report, and let the test pass, fail or stay unscored by it."""
        run, prop = self.prepare(), item.stash[PROPERTY]
        if isinstance(outcome, Score):
            score = outcome
        else:
            seconds = time.perf_counter() - self.started[item.nodeid]
            with usage_errors():
                score = run.record(prop, spec_of(item), params_of(item), outcome, seconds)
        item.stash[RECORDED] = score
        item.user_properties.append((SCORE, carried(score)))
        item.user_properties.append((NOTES, "\n".join(shown(note) for note in run.notes())))
        judgement = self.gate.judge(score, prop, run.store)
        if judgement is not None:
            self._announce(item, judgement)
        if score.unscored_reason is not None:
            reason = shown(f"{score.property}[{score.sae}] unscored: {score.unscored_reason}")
            pytest.fail(reason, pytrace=False) if score.broken else pytest.skip(reason)

    def _announce(self, item: pytest.Item, judgement: Judgement) -> None:
        item.user_properties.append((JUDGEMENT, carried(judgement)))
        if judgement.fails:
            pytest.fail(judgement.line, pytrace=False)
        if judgement.word == "acknowledged":
            pytest.xfail(judgement.line)

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, Any] | None:
        """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_report_teststatus"""
        score = score_of(report)
        if score is None or report.when != "call" or report.outcome == "failed":
            return None
        if score.value is None:
            return "unscored", "u", (shown(f"unscored: {score.unscored_reason}"), {"yellow": True})
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

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_sessionfinish"""
        nothing = self.expected and not any(score.value is not None for score in self.scores)
        nothing = nothing or nothing_compared(self.judgements)
        if self.run is not None and self.scores and not hasattr(session.config, "workerinput"):
            self.lost = self.run.store.lost(self.scores)
        if (
            (nothing or self.lost)
            and session.exitstatus == pytest.ExitCode.OK
            and not session.config.option.collectonly
        ):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_terminal_summary"""
        if self.run is None or not self.expected or self.config.option.collectonly:
            return
        notes = [*self.notes, *filter(None, [self.lost])]
        for line in summary(self.scores, self.judgements, notes, self.expected, str(self.run.store.path)):
            terminalreporter.write_line(line)
        for line in architectures_table(self.scores, self.gate.baseline):
            terminalreporter.write_line(line)


@contextmanager
def usage_errors(kind: Any = None) -> Iterator[None]:
    """What cannot be found, read or fitted together ends the run with one sentence and exit code 4."""
    try:
        yield
    except (ImportError, OSError, ValueError) as error:
        if kind is not None:
            raise kind(shown(str(error))) from None
        pytest.exit(shown(str(error)), returncode=pytest.ExitCode.USAGE_ERROR)
