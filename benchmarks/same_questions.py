"""saebench's own properties, asked outside of pytest: those that SAEBench has as well, or all of a suite."""

import importlib.util
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from saebench.evidence.labels.readings import Plan
from saebench.evidence.provider import call
from saebench.exchange.saebench_core import SOURCES
from saebench.record.budget import BUDGETS, Budget
from saebench.record.score import Estimate, Unscored
from saebench.record.store import Store
from saebench.run.options import Options
from saebench.run.run import Run
from saebench.saes.sae import LoadedSAE

SUITES = Path(__file__).parent.parent / "suites"
DEFAULTS = {"concepts": "letters", "pooling": "last"}
"""What evidence is about where a test does not say."""
KS = (1, 2, 5)
CORE = {f"reconstruction.{name}" for part in SOURCES.values() for name, _ in part.values()}
ABSORPTION = ("absorption.full_rate_0_6_0", "absorption.fraction_0_6_0", "first_letter.split_count", "first_letter.k_sparse_f1")  # fmt: skip


@dataclass(frozen=True)
class Sizes(Options):
    """A budget of the size of what the other side is given."""

    documents: int = 160
    words: int = 2048
    prefixes: int = 1

    @property
    def sizes(self) -> Budget:
        return replace(BUDGETS[self.budget], documents=self.documents, words=self.words, prefixes=self.prefixes)


@dataclass(frozen=True)
class Question:
    """One test of a suite, with one choice of its parameters."""

    name: str
    params: dict[str, Any]
    test: Any


def core() -> list[Question]:
    """What SAEBench's `core` reports as well."""
    return [one for one in of_suites("reconstruction") if one.name in CORE]


def absorption() -> list[Question]:
    """Of absorption what SAEBench reports as well, and the F1 of its k-sparse probes."""
    return [one for one in of_suites("absorption", "first_letter") if one.name in ABSORPTION]


def sparse_probing() -> list[Question]:
    """Probes on 1, 2, 5 and all latents, and on the activation, of means over a text's tokens."""
    found = {(one.name.partition(".")[2], one.params.get("k")): one for one in of_suites("sparse_probing")}
    asked = [found["auc", k] for k in KS] + [found["auc_all", None], found["dense_auc", None]]
    return [replace(one, params={**one.params, "pooling": "mean"}) for one in asked]


QUESTIONS = {"core": core, "absorption": absorption, "sparse_probing": sparse_probing}
WHOLE = {"core": "reconstruction", "absorption": "absorption", "sparse_probing": "sparse_probing"}


def of_suites(*suites: str) -> list[Question]:
    return [one for suite in suites for one in _of_suite(suite)]


def _of_suite(suite: str) -> Iterator[Question]:
    spec = importlib.util.spec_from_file_location(suite, SUITES / f"test_{suite}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, test in vars(module).items():
        if name.startswith("test_") and inspect.isfunction(test):
            marks = list(test.pytestmark)  # type: ignore[attr-defined]
            scored = next(mark.args[0] for mark in marks if mark.name == "score")
            given = [_choices(*mark.args) for mark in marks if mark.name == "parametrize"]
            for chosen in product(*given):
                yield Question(scored, {key: value for each in chosen for key, value in each.items()}, test)


def _choices(names: str | tuple[str, ...], values: Any) -> list[dict[str, Any]]:
    if isinstance(names, str):
        return [{names: value} for value in values]
    return [dict(zip(names, value, strict=True)) for value in values]


def run_of(spec: Any, folder: Path, options: Options) -> Run:
    """A run of one SAE, with its files and its model in memory, and nothing else."""
    run = Run([spec], Store(folder / "scores.jsonl"), options)
    run.preparation.prepare(print)
    run.preparation.prepare_suite("sparse_probing", run.labels.needs, print)
    run.models.subject(run.holder.sae(spec).spec)
    return run


def answers(run: Run, sae: LoadedSAE, questions: list[Question]) -> dict[str, Estimate | None]:
    """What a user gets, by name and parameters; None for what is unscored."""
    return {_named(one): _answer(run, sae, one) for one in questions}


def _named(one: Question) -> str:
    return " ".join([one.name, *(f"{key}={value}" for key, value in one.params.items())])


def _answer(run: Run, sae: LoadedSAE, one: Question) -> Estimate | None:
    found: list[Estimate] = []
    params = {**DEFAULTS, **one.params}
    try:
        call(one.test, lambda name: found.append if name == "record" else run.provision.get(name, sae, params))
    except Unscored:
        return None
    return found[0]


def limit_labels(run: Run, names: list[str]) -> None:
    """Read these labelled sets and no others as means over tokens: those that the other side is given."""
    every = run.labels.plan

    def plan(spec: Any, pooling: Any) -> Plan:
        if pooling != "mean":
            return every(spec, pooling)
        found = every(spec, "last")
        kept = tuple(one for one in found.sets if one.name in names)
        return replace(found, name=f"{found.name}, {len(kept)} sets", sets=kept, pooling="mean", transfer=(), groups=())

    run.labels.plan = plan  # type: ignore[method-assign]
