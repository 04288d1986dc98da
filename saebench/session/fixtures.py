"""What a test may ask for by name: the SAE, what was measured of it once for all properties, and `record`."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from saebench.evidence.words.concepts import LETTERS
from saebench.record.score import Estimate
from saebench.run.run import Run
from saebench.session.errors import of_this_sae
from saebench.session.suite_run import RUN

if TYPE_CHECKING:
    from saebench.evidence.game.answers import Lineup, Rungs
    from saebench.evidence.game.ladder import Rung
    from saebench.evidence.trace import Trace
    from saebench.evidence.words.detectors import Detectors
    from saebench.evidence.words.spelling import Speller
    from saebench.evidence.words.study import Probed, Study
    from saebench.metrics.dataset_shift import Firing
    from saebench.metrics.marginal_structure import Control
    from saebench.metrics.throughput import Operation
    from saebench.saes.sae import LoadedSAE
    from saebench.subject.activations import Activations

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
        return run_of(request).sae(request.param)


@pytest.fixture(scope="session")
def activations(request: pytest.FixtureRequest, sae: "LoadedSAE") -> "Activations":
    """The language model's activations at the SAE's hook; computed once for all SAEs."""
    with of_this_sae():
        return run_of(request).activations(sae)


@pytest.fixture(scope="session")
def trace(request: pytest.FixtureRequest, sae: "LoadedSAE") -> "Trace":
    """One pass of the SAE over the corpus, spliced into the model; computed once for all properties."""
    with of_this_sae():
        return run_of(request).trace(sae)


@pytest.fixture
def concepts() -> str:
    """Concept set that `study`, `detectors` and `speller` are about; parametrize a test with it for another one.

    A test that asks for it, or for what asks for it, is measured at words.
    """
    return LETTERS


@pytest.fixture
def probed(request: pytest.FixtureRequest, sae: "LoadedSAE", concepts: str) -> "Probed":
    """The words of the concept set at the SAE's hook and what a probe reads of them: the same for all SAEs there."""
    with of_this_sae():
        return run_of(request).words.probed(sae.spec, concepts)


@pytest.fixture
def study(request: pytest.FixtureRequest, sae: "LoadedSAE", concepts: str) -> "Study":
    """The SAE's latents at the words of the concept set."""
    with of_this_sae():
        return run_of(request).words.study(sae, concepts)


@pytest.fixture
def detectors(request: pytest.FixtureRequest, sae: "LoadedSAE", concepts: str) -> "Detectors":
    """Latents that detect the concepts, chosen on words that are not scored."""
    with of_this_sae():
        return run_of(request).words.detectors(sae, concepts)


@pytest.fixture
def speller(request: pytest.FixtureRequest, sae: "LoadedSAE", concepts: str) -> "Speller":
    """The language model, asked for the concepts of words with edited activations."""
    with of_this_sae():
        return run_of(request).words.speller(sae.spec, concepts)


@pytest.fixture
def lineup(request: pytest.FixtureRequest, sae: "LoadedSAE") -> "Lineup":
    """What the model answered about the SAE's features and about made-up ones."""
    with of_this_sae():
        return run_of(request).controls.lineup(sae)


@pytest.fixture
def control_rungs(request: pytest.FixtureRequest, sae: "LoadedSAE", control: str) -> "Rungs":
    """What the model answered about a control of the game, which a test is parametrized with."""
    with of_this_sae():
        return run_of(request).controls.rungs(sae, control)


@pytest.fixture
def controls(request: pytest.FixtureRequest, sae: "LoadedSAE") -> "dict[str, Control]":
    """SAEs that learned nothing of the model, to be measured as the SAE is."""
    with of_this_sae():
        return run_of(request).controls.controls(sae)


@pytest.fixture
def firings(request: pytest.FixtureRequest, sae: "LoadedSAE") -> "tuple[Firing, list[Firing], list[Firing]]":
    """Latents on texts that the model never saw: of an SAE that saw them, of other seeds that did not, of all seeds."""
    with of_this_sae():
        return run_of(request).dataset.firings(sae)


@pytest.fixture
def dataset_game(request: pytest.FixtureRequest, sae: "LoadedSAE") -> "Rung":
    """Latents of genres that the model knows, and latents that exist because of one that it does not know."""
    with of_this_sae():
        return run_of(request).dataset.game(sae)


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
