"""A project with SAEs and a small suite of its own, and a run in it."""

import pytest
from factories import make_project

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


@pytest.fixture
def project(pytester, monkeypatch, tmp_path_factory):
    return make_project(pytester, monkeypatch, tmp_path_factory, SAES, SUITE)


def run(project, *arguments, sae="my_saes:identity", file="s.jsonl"):
    options = ["suites", "--sae", sae, "--sae-scores", file, "--sae-budget", "smoke", "-p", "saebench.plugin"]
    return project.runpytest_inprocess(*options, *arguments)
