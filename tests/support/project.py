"""A project with SAEs and a small suite of its own, and a run in it."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import forks
import preloaded  # noqa: F401
import pytest
from factories import make_project

from saebench.run import models

CONTEXT = 64
"""Tokens per document: a quarter of what a run reads, in a quarter of the time."""

SAES = """
import torch

D = 192

class Identity:
    context_size = 64
    def encode(self, x): return x
    def decode(self, latents): return latents

class NaN(Identity):
    def decode(self, latents): return latents * float("nan")

class EncodeOnly:
    context_size = 64
    def encode(self, x): return x

class Shrunk(Identity):
    def __init__(self, factor): self.factor = torch.tensor(factor)
    def decode(self, latents): return latents * self.factor

def identity(): return Identity()
def nan(): return NaN()
def encode_only(): return EncodeOnly()
def shrunk(): return Shrunk(0.9)
def more_shrunk(): return Shrunk(0.6)
def not_an_sae(): return 3
def leaves(): raise SystemExit(0)
"""


SUITE = """
import os, pathlib, pytest
from saebench.metrics import reconstruction

def count(name):
    with open("computed.txt", "a") as file:
        file.write(name + "\\n")

@pytest.mark.score("reconstruction.fvu", 1, "lower", "fraction", tolerance=0.01)
def test_fvu(trace, record):
    count("fvu")
    record(reconstruction.fvu(trace))

@pytest.mark.score("reconstruction.cosine", 1, "higher", "cosine", tolerance=0.01)
def test_cosine(trace, record):
    if os.environ.get("KILL"):
        os.kill(os.getpid(), 9)
    count("cosine")
    record(reconstruction.cosine(trace))

@pytest.mark.score("reconstruction.l0", 1, "neither", "latents")
def test_l0(trace, record):
    count("l0")
    record(reconstruction.l0(trace))
"""


SHORTER = f"""
from saebench.run import models

models.CONTEXT = {CONTEXT}
"""


@pytest.fixture
def project(pytester, monkeypatch, tmp_path_factory):
    monkeypatch.setattr(models, "CONTEXT", CONTEXT)
    monkeypatch.setattr(sys, "executable", forks.python())  # of which pytest-xdist makes workers
    made = make_project(pytester, monkeypatch, tmp_path_factory, SAES, SUITE)
    made.makeconftest(SHORTER)  # for other processes, as workers are
    return made


def options(sae="my_saes:identity", file="s.jsonl"):
    return ["suites", "--sae", sae, "--sae-scores", file, "--sae-budget", "smoke", "-p", "saebench.plugin"]


def run(project, *arguments, sae="my_saes:identity", file="s.jsonl"):
    return project.runpytest_inprocess(*options(sae, file), *arguments)


@dataclass(frozen=True)
class Ran:
    """A run that several tests look at, and the folder that it wrote to."""

    result: pytest.RunResult
    path: Path

    @property
    def said(self) -> str:
        return self.result.stdout.str() + self.result.stderr.str()


@pytest.fixture(scope="session")
def _ran() -> dict[str, Ran]:
    return {}


@pytest.fixture
def once(project: Any, _ran: dict[str, Ran]) -> Callable[..., Ran]:
    """A run by the name that tests share it under: the first test that asks for it starts it."""

    def found(name: str, *arguments: str, **more: str) -> Ran:
        if name not in _ran:
            _ran[name] = Ran(run(project, *arguments, **more), project.path)
        return _ran[name]

    return found
