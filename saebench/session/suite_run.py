"""The hooks of one test after another: a score is found or measured, recorded, and judged by the gate."""

import time
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import pytest

from saebench.catalogue.suites import place
from saebench.compare.judging import Gate, Judgement
from saebench.record.naming import shown
from saebench.record.properties import Property, from_marker
from saebench.record.score import Estimate, Score, Unreadable, Unscored
from saebench.run.run import Run
from saebench.session.errors import end_run, is_worker, of_this_sae, unreadable_saes, usage_errors, without_frames
from saebench.session.reported import (  # fmt: skip
    JUDGEMENT,
    NOTES,
    SCORE,
    UNREADABLE,
    asked_by,
    carried,
    params_of,
    repetition_of,
    unknowable,
)
from saebench.session.requested import check_gate, header, requested_gate, requested_run
from saebench.stats.statistics import repeated

RUN = pytest.StashKey["SuiteRun"]()
PROPERTY = pytest.StashKey[Property]()
PENDING = pytest.StashKey[Unscored | Unreadable | Score]()
RECORDED = pytest.StashKey[Score]()


def _say(line: str) -> None:
    print(f"saebench: {shown(line)}", flush=True)


class SuiteRun:
    """Hooks that run per test. Their state is one `Run`, made when the first test asks for an SAE."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.run: Run | None = None
        self.gate = Gate()
        self.known: set[str] = set()
        self.expected = 0
        self.started: dict[str, float] = {}

    @property
    def asked_for(self) -> bool:
        suites = any("suites" in str(argument) for argument in self.config.args)
        return suites or any(self.config.getoption(name) for name in ("sae", "sae_arch", "sae_baseline"))

    def prepare(self) -> Run:
        """Resolve every name before anything heavy is loaded; what is wrong is one sentence and exit code 4."""
        if self.run is None:
            with usage_errors():
                self.gate = requested_gate(self.config.getoption, self.config.rootpath)
                self.run = requested_run(self.config.getoption)
            self.run.holder.unreadable |= unreadable_saes(self.config)
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

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None]:
        """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_collection_modifyitems"""
        self._deselect(items)
        if self.asked_for:
            items.sort(key=lambda item: place(item.path.stem.removeprefix("test_")))  # before pytest puts SAEs together
        yield
        for item in items:
            marker = item.get_closest_marker("score")
            if marker is not None:
                with usage_errors():
                    item.stash[PROPERTY] = from_marker(marker.args, marker.kwargs, item.nodeid)
                self.expected += 1
        with usage_errors():
            self._check_gate([item for item in items if PROPERTY in item.stash])

    def _deselect(self, items: list[pytest.Item]) -> None:
        """What asks for known features is not asked of SAEs whose features nobody knows."""
        kept, apart = list[pytest.Item](), list[pytest.Item]()
        for item in items:
            (apart if unknowable(item, self.prepare) else kept).append(item)
        if apart:
            self.config.hook.pytest_deselected(items=apart)
            items[:] = kept

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
        if self.run is not None and not session.config.option.collectonly and not is_worker(session.config):
            capture: Any = session.config.pluginmanager.getplugin("capturemanager")
            with capture.global_and_fixture_disabled(), usage_errors():
                self.run.store.check_writable()
                self.run.preparation.prepare(_say)
                for suite, needs in self.run.needs_of_suites.items():
                    if self._asks_for(suite):
                        self.run.preparation.prepare_suite(suite, needs, _say)

    def _asks_for(self, suite: str) -> bool:
        """Whether its file is among those that pytest was given, or a folder of them."""
        given = [str(each).partition("::")[0] for each in self.config.args]
        return any(not each.endswith(".py") or f"test_{suite}" in each for each in given)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None]:
        """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_runtest_setup"""
        self.started[item.nodeid] = time.perf_counter()
        try:
            if PROPERTY in item.stash:
                self._resume(item)
            return (yield)
        except (Unscored, Unreadable) as reason:
            if PROPERTY not in item.stash:
                pytest.fail(str(reason), pytrace=False)
            item.stash[PENDING] = without_frames(reason)

    def _resume(self, item: pytest.Item) -> None:
        """A score that is stored already needs no SAE, no model and no test body."""
        with of_this_sae():
            stored = self.prepare().recorder.found(asked_by(item, item.stash[PROPERTY]))
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
            self.conclude(item, without_frames(reason))
        except (pytest.skip.Exception, pytest.xfail.Exception) as reason:
            if PROPERTY not in item.stash or RECORDED in item.stash:
                raise
            advice = "a property that cannot be evaluated raises Unscored"
            pytest.fail(f"{item.nodeid} recorded no score ({type(reason).__name__}: {reason}): {advice}", pytrace=False)
        if PROPERTY in item.stash and RECORDED not in item.stash:
            pytest.fail(f"{item.nodeid} recorded no score", pytrace=False)

    def conclude(self, item: pytest.Item, outcome: Estimate | Unscored | Unreadable | Score) -> None:
        """Store the score, hand it to the report, and let the test pass, fail or stay unscored by it."""
        run, prop = self.prepare(), item.stash[PROPERTY]
        if isinstance(outcome, Unreadable):
            item.user_properties.append((UNREADABLE, str(outcome)))
            pytest.fail(str(outcome), pytrace=False)
        score = outcome if isinstance(outcome, Score) else self._recorded(item, outcome)
        item.stash[RECORDED] = score
        item.user_properties.append((SCORE, carried(score)))
        item.user_properties.append((NOTES, "\n".join(shown(note) for note in run.notes())))
        judgement = self.gate.judge(score, prop, run.store)
        if judgement is not None:
            self._announce(item, judgement)
        if score.unscored_reason is not None:
            reason = shown(f"{score.property}[{score.sae}] unscored: {score.unscored_reason}")
            pytest.fail(reason, pytrace=False) if score.broken else pytest.skip(reason)

    def _recorded(self, item: pytest.Item, outcome: Estimate | Unscored) -> Score:
        """The score as it stands in the scores file; where it cannot be written there, the run ends."""
        seconds = time.perf_counter() - self.started[item.nodeid]
        try:
            return self.prepare().recorder.record(asked_by(item, item.stash[PROPERTY]), outcome, seconds)
        except (OSError, ValueError) as error:
            end_run(item.session, str(error))

    def _announce(self, item: pytest.Item, judgement: Judgement) -> None:
        item.user_properties.append((JUDGEMENT, carried(judgement)))
        if judgement.fails:
            pytest.fail(judgement.line, pytrace=False)
        if judgement.word == "acknowledged":
            pytest.xfail(judgement.line)
