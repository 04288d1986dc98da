"""The pytest face: options, one test after another, scores and what the gate says. Only `pytest_*.py` beside it know pytest."""

import pytest

from saebench.hub.listing import listed
from saebench.record.naming import shown
from saebench.session.errors import usage_errors
from saebench.session.options import add_options
from saebench.session.reports import Reports
from saebench.session.suite_run import RUN, SuiteRun
from saebench.session.waiting import Waiting
from saebench.session.workers import Workers

pytest_plugins = ["saebench.session.fixtures"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_addoption"""
    add_options(parser.getgroup("saebench", "benchmark sparse autoencoders").addoption)


def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_cmdline_main"""
    pattern = config.getoption("sae_list")
    if pattern is None:
        return None
    with usage_errors():
        print(listed(pattern))
    return 0


def pytest_configure(config: pytest.Config) -> None:
    """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_configure"""
    config.addinivalue_line("markers", "score(property, version, better, unit, …): the property that a test scores")
    # sae-lens imports a deprecated module of transformer-lens, of which no user can do anything.
    config.addinivalue_line("filterwarnings", "ignore:The 'utils' module has been deprecated:DeprecationWarning")
    suite_run = SuiteRun(config)
    config.stash[RUN] = suite_run
    config.pluginmanager.register(suite_run, "saebench.run.run")
    config.pluginmanager.register(Workers(suite_run), "saebench.workers")
    reports = Reports(suite_run)
    config.pluginmanager.register(reports, "saebench.reports")
    config.pluginmanager.register(Waiting(suite_run, reports), "saebench.waiting")
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
