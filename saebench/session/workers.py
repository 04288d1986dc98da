"""What pytest-xdist's workers share: SAEs among them, and cores."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from saebench.session.errors import UNREADABLE_SAES

if TYPE_CHECKING:
    from saebench.session.suite_run import SuiteRun


class Workers:
    """Hooks of pytest-xdist, which need not be installed."""

    def __init__(self, suite_run: "SuiteRun") -> None:
        self.suite_run = suite_run

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """https://github.com/pytest-dev/pytest-xdist/blob/master/src/xdist/newhooks.py"""
        run = self.suite_run.run
        node.workerinput[UNREADABLE_SAES] = dict(run.holder.unreadable) if run is not None else {}

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """https://github.com/pytest-dev/pytest-xdist/blob/master/src/xdist/newhooks.py"""
        self.suite_run.expected = len(ids) if self.suite_run.asked_for else 0

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self, specs: Sequence[object]) -> None:
        """https://github.com/pytest-dev/pytest-xdist/blob/master/src/xdist/newhooks.py"""
        if self.suite_run.asked_for:
            from saebench.session.scheduling import share_cores

            share_cores(len(specs))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """https://github.com/pytest-dev/pytest-xdist/blob/master/src/xdist/newhooks.py"""
        run = self.suite_run.run
        if run is None or config.getoption("dist") != "load":  # what `-n` alone stands for
            return None
        from saebench.session.scheduling import BySAE

        return BySAE(config, log, [spec.name for spec in run.specs])
