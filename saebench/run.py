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

from saebench.control_run import ControlRun
from saebench.dataset_run import DatasetRun
from saebench.memory import Memory
from saebench.properties import Property
from saebench.registry import fixtures_dir, resolve
from saebench.score import Estimate, Score, Unscored, identity
from saebench.spec import SAESpec
from saebench.store import Store
from saebench.word_run import WordRun

if TYPE_CHECKING:
    from saebench.activations import Activations
    from saebench.cache import Cache
    from saebench.corpora import Corpus
    from saebench.sae import LoadedSAE
    from saebench.subject import Subject
    from saebench.trace import Trace

BUDGETS = {"smoke": 16, "quick": 96, "standard": 384, "full": 1536}
"""Documents per corpus."""
CONTEXT = 256
"""Tokens per document, where the model's context allows it."""
Params = dict[str, str | int | float | bool | None]
"""What a test is parametrized with beside the SAE, by name."""
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
    _cache: "Cache | None" = None
    _sae: "LoadedSAE | None" = None
    _of_sae: Memory = field(default_factory=Memory)

    def __post_init__(self) -> None:
        self.words = WordRun(self)
        self.controls = ControlRun(self)
        self.dataset = DatasetRun(self)

    def open(self) -> None:
        """Mend a torn scores file and read what is there already."""
        self.store.repair()
        self.stored = {} if self.fresh else self.store.newest()

    def sae(self, spec: SAESpec) -> "LoadedSAE":
        """The SAE in memory; the one before it is dropped first."""
        from saebench.loaders import load_sae

        if self._sae is None or self._sae.spec.name != spec.name:
            self._sae = None
            self._of_sae.clear()
            self.words.of_sae.clear()
            self.controls.of_sae.clear()
            gc.collect()
            self._sae = self._control(spec) if spec.loader == "control" else load_sae(spec, self.resolved_device())
        return self._sae

    def _control(self, spec: SAESpec) -> "LoadedSAE":
        """The control of the SAE that its location names."""
        from saebench.loaders import load_sae

        (own,) = resolve(spec.location)
        return self.controls.made(load_sae(own, self.resolved_device()), spec.name.rpartition("~")[2])

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
        return self.activations_of(self.subject(sae.spec), self.hook(sae.spec))

    def activations_of(self, subject: "Subject", hook: str) -> "Activations":
        """Of a model that an SAE is read from, or of one with random weights."""
        from saebench.activations import compute_activations

        key = (subject.digest, hook)
        if key not in self._activations:
            self._activations[key] = compute_activations(subject, hook, self.corpus(), self.cache())
        return self._activations[key]

    def trace(self, sae: "LoadedSAE") -> "Trace":
        """One pass of the SAE over the corpus; what it could not do is remembered as well."""
        from saebench.trace import trace

        return self._of_sae.get((sae.digest, "trace"), lambda: trace(sae, self.activations(sae)))

    def cache(self) -> "Cache":
        """One for the whole run: where it computes anew, it does so once per key."""
        from saebench.cache import Cache

        self._cache = self._cache or Cache(fresh=self.fresh)
        return self._cache

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

    def found(self, prop: Property, spec: SAESpec, params: Params) -> Score | None:
        """The stored score of this very measurement, if there is one."""
        return self.stored.get(identity(**self._identifying(prop, spec, params))) if self.stored else None

    def record(
        self, prop: Property, spec: SAESpec, params: Params, outcome: Estimate | Unscored, seconds: float
    ) -> Score:
        """Make the score and append it to the scores file at once."""
        estimate = outcome if isinstance(outcome, Estimate) else None
        score = Score(
            **self._identifying(prop, spec, params), **_outcome(prop, outcome), **self._about_sae(spec), **_environment(),
            better=prop.better, unit=prop.unit, seconds=round(seconds, 3), device=self.resolved_device(),
        )  # fmt: skip
        return self.store.append(score, estimate.items if estimate and estimate.items else None)

    def _identifying(self, prop: Property, spec: SAESpec, params: Params) -> dict[str, Any]:
        from saebench.subject import model_digest

        model = self.model_name(spec)
        words = prop.reads == "words"
        corpus = self.words.plan(spec, str(params.get("concepts", "letters"))).name if words else self.corpus().name
        return {
            "property": prop.name, "version": prop.version,
            "params": {**params, **({"machine": machine()} if prop.machine else {})},
            "sae_digest": spec.digest or self.sae(spec).digest, "model_digest": _cached_digest(model_digest, model),
            "corpus": corpus,
        }  # fmt: skip

    def _about_sae(self, spec: SAESpec) -> dict[str, Any]:
        """Its name, hook and model, and the L0 and FVU measured in this run, whatever order the tests came in."""
        sae = self.sae(spec)
        measured = self._of_sae.get((sae.digest, "l0 and fvu"), lambda: self._l0_and_fvu(sae))
        names = {"sae": spec.name, "model": self.model_name(spec), "hook": self.hook(sae.spec)}
        return {**names, "control": spec.control, **measured}

    def _l0_and_fvu(self, sae: "LoadedSAE") -> dict[str, float]:
        from saebench.metrics import reconstruction

        try:
            trace = self.trace(sae)
            return {"l0": reconstruction.l0(trace).value, "fvu": reconstruction.fvu(trace).value}
        except Unscored:
            return {}


def default_hook(model: str) -> str | None:
    """Hook of the family of a model's name, for SAEs that do not say where they read it."""
    hook: str | None = model_facts(model).get("hook")
    return hook


@cache
def model_facts(model: str) -> dict[str, Any]:
    """What the file of a model's name in fixtures/ says, if there is one."""
    path = fixtures_dir() / f"{model}.toml"
    return tomllib.loads(path.read_text()) if path.is_file() else {}


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
