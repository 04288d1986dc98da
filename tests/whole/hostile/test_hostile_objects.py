"""Objects that are no SAEs, or say of themselves what cannot be."""

import pytest
import torch
from hostile import (
    HOSTILE,
    UNSHOWABLE,
    D,
)
from hostile_cases import Told, module, with_attribute

from saebench.catalogue.registry import resolve
from saebench.record.store import Store
from saebench.run.options import Options
from saebench.run.run import Run
from saebench.saes.loaders import load_sae

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def shared_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose model is loaded once."""
    return Run([], Store(tmp_path_factory.mktemp("run") / "s.jsonl"), Options("smoke", "cpu"))


ATTRIBUTES = {
    "hook": [
        "5",
        "['x']",
        "{}",
        "'nope'",
        "'blocks.99.hook_resid_post'",
        "'blocks.-1.hook_resid_post'",
        "'blocks.٣.x'",
    ],
    "context_size": ["'64'", "-5", "0", "[1]", "64.5", "float('nan')", "True"],
    "model": ["5", "['x']", "'../../etc'", "'a/b/c'", "'a/b@../../c'", "'/etc/passwd'"],
    "architecture": ["5", "['x']", "{}"],
}


HOSTILE_ATTRIBUTES = [(name, repr(HOSTILE[bad])) for name in ("hook", "model", "architecture") for bad in UNSHOWABLE]


@pytest.mark.parametrize(("name", "value"), [
    *((name, value) for name, values in ATTRIBUTES.items() for value in values), *HOSTILE_ATTRIBUTES,
    ("hook", repr("a" * 10_000)), ("model", repr("a" * 10_000)),
])  # fmt: skip
def test_attribute_of_an_object(shared_run: Run, told: Told, name: str, value: str) -> None:
    (spec,) = resolve(with_attribute(name, value))
    shared_run.holder._sae = None

    def use() -> None:
        load_sae(spec)
        shared_run.documents.activations(shared_run.holder.sae(spec))

    told(use, seconds=20)


@pytest.mark.parametrize("code", [
    "make = 5", "def make(needed): return SAE()", "def make(): return 3", "make = None", "other = 1",
    "def make(): return type('a\\n\\x1b[31mb', (), {})()",
])  # fmt: skip
def test_callable_that_makes_no_sae(told: Told, code: str) -> None:
    told(lambda: load_sae(resolve(module(code))[0]), "evil_sae:make")


@pytest.mark.parametrize("code", [
    "raise RuntimeError('first \\x1b[31m line\\nsecond')", "raise RuntimeError('1,' * 50_000)", "return '<b>'", "return x[:1]",
    "return x * float('nan')", "return x @ torch.ones(17, 4)",
])  # fmt: skip
def test_sae_that_misbehaves(told: Told, code: str) -> None:
    sae = load_sae(resolve(module(f"class make(SAE):\n    def encode(self, x): {code}"))[0])
    told(lambda: sae.encode(torch.ones(2, D)), "encode")
