"""The pytest face: options, status words, summary, exit codes. Only this file and `pytest_fixtures` know pytest."""

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from saebench import __version__, gate
from saebench.listing import listed
from saebench.properties import Property, from_marker
from saebench.registry import resolve_all
from saebench.run import BUDGETS, Run
from saebench.score import Estimate, Score, Unscored
from saebench.spec import SAESpec
from saebench.store import Store

RUN = pytest.StashKey["SuiteRun"]()
PROPERTY = pytest.StashKey[Property]()
PENDING = pytest.StashKey[Unscored | Score]()
RECORDED = pytest.StashKey[Score]()
SCORE, NOTES = "saebench_score", "saebench_notes"
DEFAULT = "organism"
pytest_plugins = ["saebench.pytest_fixtures"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_addoption"""
    group = parser.getgroup("saebench", "benchmark sparse autoencoders")
    add = group.addoption
    add("--sae", action="append", metavar="SPEC", help=(
        "SAE to benchmark: a name or glob of fixtures/*.toml, a folder or file, saelens:RELEASE/SAE_ID, "
        "hf:ORG/REPO/PATH, or package.module:callable; with @REVISION for the hub; repeatable. "
        f"Default: {DEFAULT}, the embedded model's zoo"))  # fmt: skip
    add("--sae-list", metavar="PATTERN", nargs="?", const="", help=(
        "list what --sae PATTERN would name, or all families, and exit. Default: off"))  # fmt: skip
    add("--sae-baseline", metavar="FILE[:ROW]", help="scores to compare with: a worse score fails. Default: none")
    add("--sae-scores", metavar="FILE", default=".saebench/scores.jsonl", help="Default: %(default)s")
    add("--sae-budget", choices=list(BUDGETS), default="quick", help="how many documents to read. Default: %(default)s")
    add("--sae-device", metavar="DEVICE", help="Default: cuda where there is one, else cpu")
    add("--sae-model", metavar="NAME", help="language model to run, by name or folder. Default: the SAE's own")
    add("--sae-corpus", metavar="TEXTS", help=(
        "texts to read: a .txt or .jsonl file, or ORG/DATASET of the hub. Default: what the SAE's family says"))  # fmt: skip
    add("--sae-fresh", action="store_true", help="compute scores anew that the scores file already has. Default: off")


def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_cmdline_main"""
    pattern = config.getoption("sae_list")
    if pattern is None:
        return None
    try:
        print(listed(pattern))
    except (OSError, ValueError) as error:
        raise pytest.UsageError(str(error)) from None
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
        metafunc.parametrize("sae", specs, ids=[spec.name for spec in specs], indirect=True, scope="session")


class SuiteRun:
    """Hooks that run per test. Their state is one `Run`, made when the first test asks for an SAE."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.run: Run | None = None
        self.expected = 0
        self.scores: list[Score] = []
        self.notes: dict[str, None] = {}
        self.started: dict[str, float] = {}

    @property
    def asked_for(self) -> bool:
        suites = any("suites" in str(argument) for argument in self.config.args)
        return suites or any(self.config.getoption(name) for name in ("sae", "sae_baseline"))

    def prepare(self) -> Run:
        """Resolve every name before anything heavy is loaded; what is wrong is one sentence and exit code 4."""
        if self.run is None:
            option = self.config.getoption
            try:
                specs = resolve_all(option("sae") or [DEFAULT])
                baseline = gate.read_baseline(option("sae_baseline")) if option("sae_baseline") else None
                self.run = Run(
                    specs, Store(option("sae_scores")), option("sae_budget"), option("sae_device"), option("sae_model"),
                    option("sae_fresh"), baseline, option("sae_corpus"),
                )  # fmt: skip
                self.run.open()
            except (OSError, ValueError) as error:
                raise pytest.UsageError(str(error)) from None
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
        if self.run is None:
            return []
        option = self.config.getoption
        chosen = ", ".join(option("sae")) if option("sae") else f"none given, so {DEFAULT}, the embedded model's zoo"
        lines = [f"saebench {__version__}: --sae {chosen}: {len(self.run.specs)} SAEs, budget {self.run.budget}"]
        known = f", {len(self.run.stored)} there already (--sae-fresh computes anew)" if self.run.stored else ""
        return [*lines, f"scores: {self.run.store.path}{known}"]

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_collection_modifyitems"""
        for item in items:
            marker = item.get_closest_marker("score")
            if marker is not None:
                try:
                    item.stash[PROPERTY] = from_marker(marker.args, marker.kwargs, item.nodeid)
                except ValueError as error:
                    raise pytest.UsageError(str(error)) from None
                self.expected += 1

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """https://github.com/pytest-dev/pytest-xdist/blob/master/src/xdist/newhooks.py"""
        self.expected = len(ids) if self.asked_for else 0

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
            with capture.global_and_fixture_disabled():
                try:
                    self.run.prepare(lambda line: print(f"saebench: {line}", flush=True))
                except (ImportError, OSError, ValueError) as error:
                    raise pytest.UsageError(str(error)) from None

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
        item.user_properties.append((SCORE, score.to_line()))
        item.user_properties.append((NOTES, "\n".join(run.notes())))
        if score.unscored_reason is not None:
            reason = f"{score.property}[{score.sae}] unscored: {score.unscored_reason}"
            pytest.fail(reason, pytrace=False) if score.broken else pytest.skip(reason)
        self._compare(score, prop, run.baseline)

    def _compare(self, score: Score, prop: Property, baseline: list[Score] | None) -> None:
        if baseline is not None:
            found = gate.compare(score, gate.find_baseline(score, baseline), prop.tolerance)
            if found.verdict == "worse":
                pytest.fail(gate.message(score, found), pytrace=False)

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, Any] | None:
        """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_report_teststatus"""
        score = score_of(report)
        if score is None or report.when != "call" or report.outcome == "failed":
            return None
        if score.value is None:
            return "unscored", "u", (f"unscored: {score.unscored_reason}", {"yellow": True})
        return "passed", ".", (status_word(score), {"green": True})

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_runtest_logreport"""
        score = score_of(report)
        if score is not None and report.when == "call":
            self.scores.append(score)
            said = [str(value) for name, value in report.user_properties if name == NOTES]
            self.notes |= dict.fromkeys(line for text in said for line in text.splitlines())

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_sessionfinish"""
        nothing = self.expected and not any(score.value is not None for score in self.scores)
        if nothing and session.exitstatus == pytest.ExitCode.OK and not session.config.option.collectonly:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_terminal_summary"""
        if self.run is None or not self.expected or self.config.option.collectonly:
            return
        unscored = [score for score in self.scores if score.value is None]
        for score in unscored:
            terminalreporter.write_line(f"unscored {score.property}[{score.sae}]: {score.unscored_reason}")
        for note in self.notes:
            terminalreporter.write_line(f"saebench: {note}")
        resumed = sum(score.cached for score in self.scores)
        baseline = self.run.baseline
        without = sum(baseline is None or gate.find_baseline(s, baseline) is None for s in self.scores)
        terminalreporter.write_line(
            f"saebench: {self.expected} scores expected, {len(self.scores) - len(unscored)} recorded"
            f" ({resumed} from earlier runs), {len(unscored)} unscored, {without} without baseline"
            f" -> {self.run.store.path}"
        )


@contextmanager
def usage_errors() -> Iterator[None]:
    """What cannot be found, read or fitted together ends the run with one sentence and exit code 4."""
    try:
        yield
    except (ImportError, OSError, ValueError) as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)


def spec_of(item: pytest.Item) -> SAESpec:
    spec: SAESpec = item.callspec.params["sae"]  # type: ignore[attr-defined]
    return spec


def params_of(item: pytest.Item) -> dict[str, Any]:
    """What the test is parametrized with beside the SAE."""
    params: dict[str, Any] = item.callspec.params  # type: ignore[attr-defined]
    return {name: value for name, value in params.items() if name != "sae"}


def score_of(report: pytest.TestReport) -> Score | None:
    """The score that a report carries, also from a pytest-xdist worker."""
    found = [value for name, value in getattr(report, "user_properties", ()) if name == SCORE]
    return Score.from_line(str(found[-1])) if found else None


def status_word(score: Score) -> str:
    """`0.412 ±0.038  mdd 0.054  l0 16.0`: with the minimum detectable difference, or the games that ±0.05 needs."""
    half, detectable = score.half_width() or 0.0, score.controls.get("minimum_detectable_difference")
    mdd = f"  mdd {gate.number(detectable)}" if detectable is not None else ""
    mdd += f"  {needed:.0f} games for ±0.05" if (needed := score.controls.get("games_needed")) is not None else ""
    l0 = f"  l0 {score.l0:.1f}" if score.l0 is not None else ""
    return f"{gate.with_interval(score.value or 0.0, half)}{mdd}{l0}{'  (stored)' if score.cached else ''}"
