"""One benchmark run: what it was asked for, what it holds in memory, and how an estimate becomes a score."""

import gc
import os
import platform
import subprocess
import time
import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saebench.properties import Property
from saebench.registry import fixtures_dir
from saebench.score import Estimate, Score, Unscored, identity
from saebench.spec import SAESpec
from saebench.store import Store

if TYPE_CHECKING:
    from saebench.activations import Activations
    from saebench.corpora import Corpus
    from saebench.sae import LoadedSAE
    from saebench.subject import Subject
    from saebench.trace import Trace

BUDGETS = {"smoke": 16, "quick": 96, "standard": 384, "full": 1536}
"""Documents per corpus."""
CONTEXT = 256
"""Tokens per document, where the model's context allows it."""
RECORDED = ("torch", "sae-lens", "transformer-lens", "transformers", "numpy", "scipy")


@dataclass
class Run:
    """Options and everything that is loaded once: models and activations are shared, one SAE is held at a time."""

    specs: list[SAESpec]
    store: Store
    budget: str = "quick"
    device: str | None = None
    model: str | None = None
    fresh: bool = False
    baseline: list[Score] | None = None
    stored: dict[str, Score] = field(default_factory=dict)
    """Scores by identity that earlier runs left in the scores file."""
    _subjects: "dict[str, Subject]" = field(default_factory=dict)
    _activations: "dict[tuple[str, str], Activations]" = field(default_factory=dict)
    _sae: "LoadedSAE | None" = None
    _trace: "tuple[str, Trace | Unscored] | None" = None
    _measured: dict[str, float] | None = None

    def open(self) -> None:
        """Mend a torn scores file and read what is there already."""
        self.store.repair()
        self.stored = {} if self.fresh else self.store.newest()

    def sae(self, spec: SAESpec) -> "LoadedSAE":
        """The SAE in memory; the one before it is dropped first."""
        from saebench.loaders import load_sae

        if self._sae is None or self._sae.spec.name != spec.name:
            self._sae = self._trace = self._measured = None
            gc.collect()
            self._sae = load_sae(spec, self.resolved_device())
        return self._sae

    def subject(self, spec: SAESpec) -> "Subject":
        from saebench.subject import load_subject

        name = self.model_name(spec)
        if name not in self._subjects:
            self._subjects[name] = load_subject(name, self.resolved_device())
        return self._subjects[name]

    def corpus(self) -> "Corpus":
        from saebench.corpora import Corpus

        return Corpus(BUDGETS[self.budget], CONTEXT)

    def activations(self, sae: "LoadedSAE") -> "Activations":
        from saebench.activations import compute_activations
        from saebench.cache import Cache

        subject, hook = self.subject(sae.spec), self.hook(sae.spec)
        key = (subject.digest, hook)
        if key not in self._activations:
            self._activations[key] = compute_activations(subject, hook, self.corpus(), Cache(fresh=self.fresh))
        return self._activations[key]

    def trace(self, sae: "LoadedSAE") -> "Trace":
        """One pass of the SAE over the corpus; what it could not do is remembered as well."""
        from saebench.trace import trace

        if self._trace is None or self._trace[0] != sae.digest:
            try:
                self._trace = (sae.digest, trace(sae, self.activations(sae)))
            except Unscored as reason:
                self._trace = (sae.digest, reason)
        found = self._trace[1]
        if isinstance(found, Unscored):
            raise Unscored(found.reason, broken=found.broken)
        return found

    def hook(self, spec: SAESpec) -> str:
        hook = spec.hook or default_hook(self.model_name(spec))
        if hook is None:
            raise ValueError(f"{spec.name} does not say which hook it reads: give its object an attribute `hook`")
        return hook

    def model_name(self, spec: SAESpec) -> str:
        return self.model or spec.model or "organism"

    def resolved_device(self) -> str:
        if self.device is None:
            import torch

            self.device = "cuda" if torch.cuda.is_available() else "cpu"
        return self.device

    def found(self, prop: Property, spec: SAESpec) -> Score | None:
        """The stored score of this very measurement, if there is one."""
        return self.stored.get(identity(**self._identifying(prop, spec))) if self.stored else None

    def record(self, prop: Property, spec: SAESpec, outcome: Estimate | Unscored, seconds: float) -> Score:
        """Make the score and append it to the scores file at once."""
        estimate = outcome if isinstance(outcome, Estimate) else None
        score = Score(
            **self._identifying(prop, spec), **_outcome(prop, outcome), **self._about_sae(spec), **_environment(),
            better=prop.better, unit=prop.unit, seconds=round(seconds, 3), device=self.resolved_device(),
        )  # fmt: skip
        return self.store.append(score, estimate.items if estimate and estimate.items else None)

    def _identifying(self, prop: Property, spec: SAESpec) -> dict[str, Any]:
        from saebench.subject import model_digest

        model = self.model_name(spec)
        return {
            "property": prop.name, "version": prop.version, "params": {"machine": machine()} if prop.machine else {},
            "sae_digest": spec.digest or self.sae(spec).digest, "model_digest": _cached_digest(model_digest, model),
            "corpus": self.corpus().name,
        }  # fmt: skip

    def _about_sae(self, spec: SAESpec) -> dict[str, Any]:
        """Its name, hook and model, and the L0 and FVU measured in this run, whatever order the tests came in."""
        sae = self.sae(spec)
        if self._measured is None:
            self._measured = self._l0_and_fvu(sae)
        names = {"sae": spec.name, "model": self.model_name(spec), "hook": self.hook(sae.spec)}
        return {**names, "control": spec.control, **self._measured}

    def _l0_and_fvu(self, sae: "LoadedSAE") -> dict[str, float]:
        from saebench.metrics import reconstruction

        try:
            trace = self.trace(sae)
            return {"l0": reconstruction.l0(trace).value, "fvu": reconstruction.fvu(trace).value}
        except Unscored:
            return {}


def default_hook(model: str) -> str | None:
    """Hook of the family of a model's name, for SAEs that do not say where they read it."""
    path = fixtures_dir() / f"{model}.toml"
    hook: str | None = tomllib.loads(path.read_text()).get("hook") if path.is_file() else None
    return hook


def machine() -> str:
    """Processor and number of threads, which timings hold for."""
    import torch

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    return f"{name}, {torch.get_num_threads()} threads"


def _outcome(prop: Property, outcome: Estimate | Unscored) -> dict[str, Any]:
    if isinstance(outcome, Unscored):
        return {
            "unscored_reason": outcome.reason,
            "broken": outcome.broken,
            "floor": prop.floor,
            "ceiling": prop.ceiling,
        }
    return {
        "value": outcome.value, "ci_low": outcome.ci_low, "ci_high": outcome.ci_high, "n": outcome.n,
        "n_unit": outcome.n_unit, "controls": outcome.controls,
        "floor": prop.floor if outcome.floor is None else outcome.floor,
        "ceiling": prop.ceiling if outcome.ceiling is None else outcome.ceiling,
    }  # fmt: skip


@cache
def _cached_digest(digest: Any, name: str) -> str:
    return str(digest(name))


@cache
def provenance() -> tuple[str, bool]:
    """Commit of the saebench that runs, and whether it was changed since; nothing outside a checkout."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return "", False

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", root, *arguments], capture_output=True, text=True, check=False
        ).stdout.strip()

    return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))


def _environment() -> dict[str, Any]:
    commit, dirty = provenance()
    versions = {"python": platform.python_version()}
    for name in RECORDED:
        versions[name] = metadata.version(name)
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(float(os.environ.get("SOURCE_DATE_EPOCH", time.time()))))
    return {"versions": versions, "commit": commit, "dirty": dirty, "created": created}
