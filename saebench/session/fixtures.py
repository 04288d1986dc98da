"""What a test may ask for by name: the SAE, what was measured of it once for all properties, and `record`."""

import inspect
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from saebench.evidence.provider import Declared, declared
from saebench.evidence.words.concepts import LETTERS
from saebench.record.score import Estimate
from saebench.run.run import SERVICES, Run
from saebench.session.errors import of_this_sae
from saebench.session.suite_run import RUN

if TYPE_CHECKING:
    from saebench.metrics.throughput import Operation
    from saebench.saes.sae import LoadedSAE

ROUNDS = 30


def run_of(request: pytest.FixtureRequest) -> Run:
    """The run, made when it is first asked for."""
    return request.config.stash[RUN].prepare()


@pytest.fixture(scope="session")
def repetition(request: pytest.FixtureRequest) -> int:
    """Which repetition of the random stages; more than one with `--sae-seeds`."""
    return getattr(request, "param", 0)


@pytest.fixture(scope="session")
def sae(request: pytest.FixtureRequest, repetition: int) -> "LoadedSAE":
    """The SAE under test; loaded once, and dropped before the next one."""
    with of_this_sae():
        return run_of(request).holder.sae(request.param)


@pytest.fixture
def concepts() -> str:
    """Concept set that `study`, `detectors` and `speller` are about; parametrize a test with it for another one."""
    return LETTERS


@pytest.fixture
def pooling() -> str:
    """How `labelled` texts are read: at the last token; parametrize a test with it for the mean over tokens."""
    return "last"


def fixture_of(one: Declared) -> Callable[..., Any]:
    """Evidence as a fixture: it depends on those of its arguments that the run has no service for."""
    needs = ["sae", *(name for name in one.arguments if name not in SERVICES and name != "sae")]

    def found(request: pytest.FixtureRequest, **given: Any) -> Any:
        params = {name: value for name, value in given.items() if name != "sae" and name not in declared()}
        with of_this_sae():
            return run_of(request).provision.get(one.name, given["sae"], params)

    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in ("request", *needs)]
    found.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    found.__doc__ = one.doc
    return pytest.fixture(name=one.name)(found)


for _one in declared().values():
    globals()[_one.name] = fixture_of(_one)


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Callable[[Estimate], None]:
    """Record the estimate of the property that the test is marked with."""
    run = request.config.stash[RUN]
    return lambda estimate: run.conclude(request.node, estimate)


@pytest.fixture
def timings(benchmark: Any) -> "Callable[[Operation, Operation], tuple[list[float], list[float]]]":
    """Seconds per round of an SAE's operation and of a bare one, run in turns so that the machine treats both alike.

    pytest-benchmark times the first, and its `--benchmark-*` options hold. Where it is disabled there are no seconds.
    """

    def run(operation: "Operation", reference: "Operation") -> tuple[list[float], list[float]]:
        seconds: list[float] = []
        with ExitStack() as guarded:

            def turn() -> tuple[tuple[Any], dict[str, Any]]:
                guarded.close()
                seconds.append(reference.seconds())
                guarded.enter_context(operation.guard())
                return (operation.fresh(),), {}

            benchmark.pedantic(operation, setup=turn, rounds=ROUNDS, warmup_rounds=3)
        return (list(benchmark.stats.stats.data), seconds[-ROUNDS:]) if benchmark.stats else ([], [])

    return run
