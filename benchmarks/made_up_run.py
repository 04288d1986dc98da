"""A plugin with which a run measures nothing and keeps everything else: for benchmarks that kill sweeps by the dozen.

`-p made_up_run` leaves a run its names, tests, scores file, items and reports; no SAE and no torch is loaded, and a score is
drawn from the names of its SAE and test. Each test takes `SECONDS`, so that whoever kills it meets it at work.
"""

import random
import time
from typing import Any

import pytest

from saebench.record.score import Estimate
from saebench.run.holder import Holder
from saebench.run.preparation import Preparation
from saebench.run.recorder import Asked, Recorder

SECONDS = 0.1


def identifying(_: Recorder, asked: Asked) -> dict[str, Any]:
    return {
        "property": asked.property.name, "version": 1, "params": asked.params, "sae_digest": f"digest of {asked.spec.name}",
        "reading": {}, "seed": 0, "corpus": "made up", "hook": asked.spec.hook or "", "model_digest": "made up",
    }  # fmt: skip


def about(_: Recorder, asked: Asked) -> dict[str, Any]:
    return {"sae": asked.spec.name, "model": asked.spec.model or "", "budget": "smoke"}


def pytest_configure() -> None:
    vars_of = {Recorder: {"identifying": identifying, "_about_sae": about}}
    vars_of |= {Holder: {"unresumable": lambda *_: False}, Preparation: {"prepare": lambda *_: None}}
    for kind, given in vars_of.items():
        for name, value in given.items():
            setattr(kind, name, value)


@pytest.fixture(scope="session")
def sae(request: pytest.FixtureRequest) -> str:
    return str(request.param.name)


@pytest.fixture
def made_up(request: pytest.FixtureRequest, sae: str) -> Estimate:
    time.sleep(SECONDS)
    drawn = random.Random(f"{sae} {request.node.name}")
    value, items = drawn.random(), [drawn.random() for _ in range(200)]
    return Estimate(value, value - 0.1, value + 0.1, 200, "item", {"x": items})
