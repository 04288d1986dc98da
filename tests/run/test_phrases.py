"""Phrases in a run: which bank is read, and what SAEs that are none get for it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import smaller
import torch
from torch import Tensor

from saebench.catalogue.registry import resolve
from saebench.metrics import decomposability
from saebench.record.budget import BUDGETS
from saebench.record.score import Unscored
from saebench.record.store import Store
from saebench.run import models
from saebench.run.options import Options
from saebench.run.run import Run
from saebench.saes.loaders import load_sae
from saebench.saes.sae import LoadedSAE

NAME = "organism/topk-16"
D, LATENTS = 192, 64


class Dead:
    def encode(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x), LATENTS)

    def decode(self, latents: Tensor) -> Tensor:
        return latents.new_zeros(len(latents), D)


class Dense(Dead):
    def encode(self, x: Tensor) -> Tensor:
        return x.new_ones(len(x), LATENTS)


class Identity(Dead):
    def encode(self, x: Tensor) -> Tensor:
        return x

    def decode(self, latents: Tensor) -> Tensor:
        return latents


class NotANumber(Dead):
    def encode(self, x: Tensor) -> Tensor:
        return x.new_full((len(x), LATENTS), torch.nan)


class Narrow(Dead):
    """Two latents, which are active on what they please."""

    def encode(self, x: Tensor) -> Tensor:
        return x[:, :2].relu()

    def decode(self, latents: Tensor) -> Tensor:
        return torch.nn.functional.pad(latents, (0, D - 2))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAEBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setitem(BUDGETS, "smoke", smaller.BUDGET)
        patch.setattr(models, "CONTEXT", smaller.CONTEXT)
        yield Run(resolve(NAME), Store(Path("unused.jsonl")), Options("smoke", device="cpu"))


def made(run: Run, source: Any) -> LoadedSAE:
    run.shelf.sae.clear()
    sae = replace(load_sae(resolve(NAME)[0], "cpu"), source=source, digest=f"digest of {type(source).__name__}")
    run.holder.hold(sae)
    return sae


def j(run: Run, sae: LoadedSAE, source: str = "description") -> float:
    return decomposability.j(run.provision.get("decomposed", sae, {"source": source})).value


@pytest.mark.parametrize("source", ["description", "texts"])
@pytest.mark.parametrize("bad", [Dead, Dense, Narrow])
def test_what_detects_nothing_has_no_score(run: Run, bad: type[Dead], source: str) -> None:
    with pytest.raises(Unscored) as reason:
        j(run, made(run, bad()), source)
    assert not reason.value.broken


def test_neurons_are_taken_apart_as_latents_are(run: Run) -> None:
    """Whether they have a score or none, it is not that of features."""
    found = run.provision.get("decomposed", made(run, Identity()), {"source": "description"})
    assert len(found.feature) < decomposability.FEWEST or decomposability.j(found).value < 0.2


def test_latents_that_are_no_numbers_break(run: Run) -> None:
    with pytest.raises(Unscored, match="NaN") as reason:
        j(run, made(run, NotANumber()))
    assert reason.value.broken


def test_phrases_are_read_once_for_all_saes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run.phrases.reading(resolve(NAME)[0])
    monkeypatch.setattr("saebench.evidence.phrases.reading._read", None)
    assert run.phrases.reading(resolve("organism/batchtopk-16")[0]) is first


def test_the_identity_says_which_phrases_and_who_named_the_features(run: Run) -> None:
    spec = resolve(NAME)[0]
    description, texts = (run.phrases.read(spec, source) for source in ("description", "texts"))
    assert run.phrases.bank(spec).identity in description
    assert "exact judge" in texts
    mine = replace(run.phrases.models.options, phrases="fixtures/phrases/entities.toml")
    monkeypatched = replace(run.phrases, models=replace(run.models, options=mine))
    assert "phrases/entities@" in monkeypatched.read(spec, "description")


@pytest.mark.parametrize("source", ["description", "texts"])
def test_a_toy_has_no_phrases(source: str) -> None:
    toy = Run(resolve("toy/flat/topk-2-192"), Store(Path("unused.jsonl")), Options("smoke", device="cpu"))
    with pytest.raises(Unscored, match="no language model"):
        toy.provision.get("decomposed", toy.holder.sae(toy.specs[0]), {"source": source})
