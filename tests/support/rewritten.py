"""One SAE, written in other ways, and what every property of every suite says of it."""

import importlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import smaller
import torch
from paths import ROOT
from torch import Tensor

from saebench.catalogue.controls import CONTROLS
from saebench.catalogue.registry import resolve
from saebench.evidence.entities import choosing
from saebench.evidence.game import games, lineup, scene
from saebench.evidence.unlearning import edits, material, sweep
from saebench.metrics import absorption, spurious_correlation
from saebench.record.budget import BUDGETS
from saebench.record.score import Estimate, Unscored
from saebench.record.store import Store
from saebench.run import entities, models
from saebench.run.options import Options
from saebench.run.run import Run
from saebench.saes.sae import LoadedSAE
from saebench.subject.random_weights import MODELS

REAL = "organism/batchtopk-16-telegrams"
"""Its data had a genre that the model never saw, so that every property has a value."""
SMALLER = (
    (BUDGETS, "smoke", smaller.BUDGET),
    (vars(models), "CONTEXT", smaller.CONTEXT), (vars(scene), "POOL", 10_000), (vars(lineup), "PER_PROMPT", 500), (vars(lineup), "ERRORS", 2),
    *((CONTROLS, name, replace(CONTROLS[name], competes=False)) for name in MODELS if name != "random_model"),
    # Of so few questions more may go wrong.
    (vars(material), "RETAIN", (1, 40, 40)), (vars(sweep), "HARMLESS", 0.1), (vars(edits), "GRID", edits.GRID[-6:]),
    (vars(games), "GAMES", 2000), (vars(games), "RESAMPLES", 400),
    (vars(choosing), "COUNTS", (8, 64)), (vars(entities), "model_facts", lambda model: {"entities": ["towns"]}),
    # Among so few words no latent is clearly better than random directions.
    (vars(absorption), "check_better_than_random", lambda study, detectors: None),
    # And of so few texts nothing clearly is learned by mistake.
    (vars(spurious_correlation), "check_mistaken", lambda lacking: None),
)  # fmt: skip
DEAD = 50
Outcome = Estimate | str


@dataclass(frozen=True)
class Rewritten:
    """An SAE whose latents are another's, by `index`, times a `gain`, and written back `share` times as strongly."""

    own: LoadedSAE
    index: Tensor
    gain: Tensor
    share: float = 1.0
    dead: int = 0
    """Latents behind them that are never active."""

    def encode(self, x: Tensor) -> Tensor:
        latents = self.own.encode(x)[..., self.index] * self.gain
        return torch.nn.functional.pad(latents, (0, self.dead))

    def decode(self, latents: Tensor) -> Tensor:
        alive, dead = latents.split([len(self.index), self.dead], dim=-1)
        written = self.share * alive / self.gain
        own = written.new_zeros(len(latents), int(self.index.max()) + 1).index_add(1, self.index, written)
        return self.own.decode(own.float()) + (dead @ self._rows(latents)).float()

    def _rows(self, latents: Tensor) -> Tensor:
        draw = torch.Generator().manual_seed(1)
        return torch.randn(self.dead, self.own.source.W_dec.shape[1], generator=draw).to(latents)


def rewritten(own: LoadedSAE, kind: str) -> Rewritten:
    n, draw = len(own.source.W_dec), torch.Generator().manual_seed(0)
    every, one = torch.arange(n), torch.ones(n)
    random = torch.rand(n, generator=draw)
    made = {
        "itself": Rewritten(own, every, one),
        "negated": Rewritten(own, every, -one),
        "some negated": Rewritten(own, every, torch.where(random < 0.5, -one, one)),
        # In double precision, so that what is multiplied and divided by a number is what it was.
        "scaled": Rewritten(own, every, 3 * one.double()),
        "each scaled": Rewritten(own, every, 0.2 + 5 * random.double()),
        "permuted": Rewritten(own, torch.randperm(n, generator=draw), one),
        "duplicated": Rewritten(own, every.repeat(2), one.repeat(2), share=0.5),
        "dead added": Rewritten(own, every, one, dead=DEAD),
        "batched": Rewritten(own, every, one),
    }
    return made[kind]


KINDS = (
    "negated", "some negated", "scaled", "each scaled", "permuted", "duplicated", "dead added", "batched",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One score: a suite's test with its parameters."""

    property: str
    test: Callable[..., None]
    params: tuple[tuple[str, Any], ...]

    @property
    def name(self) -> str:
        return "-".join([self.property, *(str(value) for _, value in self.params)])


def cases_of(test: Callable[..., None]) -> Iterator[Case]:
    marks = {mark.name: mark for mark in getattr(test, "pytestmark", ())}
    if "score" in marks:
        name, values = marks["parametrize"].args if "parametrize" in marks else ("", [None])
        for value in values:
            several = zip(name, value, strict=True) if isinstance(name, tuple) else [(name, value)] if name else []
            yield Case(marks["score"].args[0], test, tuple(several))


@cache
def cases() -> tuple[Case, ...]:
    folder = ROOT / "suites"
    # Not those of known features, which this model has none of: tests/metrics/test_known_truth.py has theirs.
    names = [path.stem for path in sorted(folder.glob("test_*.py")) if path.stem != "test_known_truth"]
    modules = [importlib.import_module(f"suites.{name}") for name in names]
    tests = [test for module in modules for test in vars(module).values() if inspect.isfunction(test)]
    return tuple(case for test in tests for case in cases_of(test))


@cache
def whole_run() -> Run:
    return Run(resolve(REAL), Store(Path("unused.jsonl")), Options("smoke", device="cpu"))


@cache
def real() -> LoadedSAE:
    from saebench.saes.loaders import load_sae

    return load_sae(resolve(REAL)[0], "cpu")


@dataclass
class Evidence:
    """What suites ask for by name, of one SAE."""

    run: Run
    sae: LoadedSAE

    def get(self, name: str, concepts: str, control: str = "", **more: Any) -> Any:
        if name == "timings":
            return lambda *_: ([1.0] * 3, [1.0] * 3)
        return self.run.provision.get(name, self.sae, {"concepts": concepts, "control": control, **more})


@cache
def outcomes(kind: str) -> dict[str, Outcome]:
    """Of every case, what an SAE scores that is written in one of `KINDS`, or why it is not scored."""
    whole = whole_run()
    whole.shelf.sae.clear()
    sae = replace(real(), source=rewritten(real(), kind), digest=f"digest of {kind}")
    whole.holder.hold(sae)
    with pytest.MonkeyPatch.context() as patch:
        if kind == "batched":
            patch.setattr(whole.models.subject(sae.spec).batch, "size", 5)
            patch.setattr("saebench.evidence.words.study.BATCH", 333)
        return {case.name: outcome(case, Evidence(whole, sae)) for case in cases()}


def outcome(case: Case, evidence: Evidence) -> Outcome:
    found: list[Estimate] = []
    given = {"record": found.append, **dict(case.params)}
    concepts, control = given.get("concepts", "letters"), given.get("control", "")
    names = [name for name in inspect.signature(case.test).parameters if name not in given]
    more = {name: value for name, value in case.params if name not in ("concepts", "control")}
    try:
        case.test(**given, **{name: evidence.get(name, concepts, control, **more) for name in names})
    except Unscored as unscored:
        return unscored.reason
    return found[0]
