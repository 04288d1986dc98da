"""One benchmark run: what it was asked for, what it holds in memory, and how an estimate becomes a score."""

import gc
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saebench.architecture_run import ArchitectureRun
from saebench.control_run import ControlRun
from saebench.dataset_run import DatasetRun
from saebench.memory import Memory
from saebench.needs import Say, ensure, model_of, of_corpus, of_model, revisions
from saebench.places import ORGANISM, fixtures_dir
from saebench.preparation import prepare
from saebench.pretrained import model_on_hub
from saebench.properties import Property
from saebench.provenance import environment, machine
from saebench.score import Estimate, Score, Unscored, identity
from saebench.spec import SAESpec
from saebench.statistics import repetition
from saebench.store import Store
from saebench.texts import DEFAULT, WORLD, Source, source_of
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
"""Tokens per document, or twice the SAE's training context where that is more; never more than the model has."""
Params = dict[str, str | int | float | bool | None]
"""What a test is parametrized with beside the SAE, by name."""


@dataclass
class Run:
    """Options and everything that is loaded once: models and activations are shared, one SAE is held at a time."""

    specs: list[SAESpec]
    store: Store
    budget: str = "quick"
    device: str | None = None
    model: str | None = None
    fresh: bool = False
    texts: str | None = None
    """What `--sae-corpus` says."""
    stored: Mapping[str, Score] = field(default_factory=dict)
    """Scores by identity that earlier runs left in the scores file."""
    _subjects: "dict[tuple[str, bool], Subject]" = field(default_factory=dict)
    _activations: "dict[tuple[str, ...], Activations]" = field(default_factory=dict)
    _cache: "Cache | None" = None
    _sae: "LoadedSAE | None" = None
    _of_sae: Memory = field(default_factory=Memory)

    def __post_init__(self) -> None:
        self.words = WordRun(self)
        self.controls = ControlRun(self)
        self.dataset = DatasetRun(self)
        self.architectures = ArchitectureRun(self)

    def open(self) -> None:
        """Read what the scores file has already; it is not changed before the first score is appended."""
        stored = self.store.stored()
        self.stored = {} if self.fresh else stored

    def prepare(self, say: Say) -> None:
        """Fetch what the run will need, and check that all of it fits together, before anything heavy is loaded.

        Raises ValueError or OSError with one sentence.
        """
        prepare(self, say)

    def own(self, spec: SAESpec) -> SAESpec:
        """The SAE that a control is made for; others are their own."""
        return spec.origin or spec

    def sae(self, spec: SAESpec) -> "LoadedSAE":
        """The SAE in memory; the one before it is dropped first."""
        if self._sae is None or self._sae.spec.name != spec.name:
            self._sae = None
            self._of_sae.clear()
            self.words.of_sae.clear()
            self.controls.of_sae.clear()
            gc.collect()
            self._sae = self._loaded(spec)
            # An object may name a model that was not known of before.
            told = self._sae.spec
            ensure([*of_model(self.model_name(told)), *of_corpus(self.source(told))], print)
        return self._sae

    def _loaded(self, spec: SAESpec) -> "LoadedSAE":
        from saebench.loaders import load_sae

        if spec.loader == "architecture":
            return self.architectures.sae(spec)
        return self._control(spec) if spec.loader == "control" else load_sae(spec, self.resolved_device())

    def _control(self, spec: SAESpec) -> "LoadedSAE":
        """The control of an SAE; one that cannot be made is unscored, whatever is asked of it."""
        from saebench.controls import unmade
        from saebench.loaders import load_sae

        own, name = load_sae(self.own(spec), self.resolved_device()), spec.name.rpartition("~")[2]
        try:
            made = self.controls.made(own, name)
        except Unscored as reason:
            made = unmade(own, name, reason)
        return replace(made, spec=replace(made.spec, name=spec.name, control=True))

    def known(self, spec: SAESpec) -> SAESpec:
        """The spec with all that its files say, which for some formats only loading tells."""
        if spec.loader == "architecture":
            return self.architectures.known(spec)
        return spec if spec.digest and spec.format == "sae_lens" else self.sae(spec).spec

    def subject(self, spec: SAESpec) -> "Subject":
        """The model that an SAE is read from; `spec` is that of the loaded SAE."""
        from saebench.batches import contexts_that_fit
        from saebench.subject import load_subject

        name, device = self.model_name(spec), self.resolved_device()
        if (name, spec.centred) not in self._subjects:
            subject = load_subject(name, device, centred=spec.centred)
            subject.batch.size = contexts_that_fit(device, self.corpus(spec).context, subject.bridge.cfg.d_vocab)
            self._subjects[name, spec.centred] = subject
        return self._subjects[name, spec.centred]

    def source(self, spec: SAESpec) -> Source | None:
        """Where the texts come from that an SAE is read on; None for the embedded model's world."""
        return source_of(self.texts or spec.corpus or (WORLD if self.model_name(spec) == ORGANISM else DEFAULT))

    def corpus(self, spec: SAESpec) -> "Corpus":
        from saebench.corpora import Texts, WorldTexts
        from saebench.models import context_of

        source, documents = self.source(spec), BUDGETS[self.budget]
        if source is None:
            return WorldTexts(documents, CONTEXT)
        context = max(CONTEXT, 2 * (spec.context_size or 0))
        return Texts(source, documents, min(context, context_of(self.model_name(spec)) or context), spec.prepend_bos)

    def activations(self, sae: "LoadedSAE") -> "Activations":
        return self.activations_of(self.subject(sae.spec), sae.spec)

    def activations_of(self, subject: "Subject", spec: SAESpec) -> "Activations":
        """What an SAE reads and writes in its own model, or in one with random weights."""
        from saebench.activations import compute_activations

        corpus, hook, out = self.corpus(spec), self.hook(spec), spec.hook_out or self.hook(spec)
        key = (subject.digest, hook, out, corpus.name)
        if key not in self._activations:
            self._activations[key] = compute_activations(subject, hook, corpus, self.cache(), out)
        return self._activations[key]

    def trace(self, sae: "LoadedSAE") -> "Trace":
        """One pass of the SAE over the corpus; what it could not do is remembered as well."""
        from saebench.trace import trace

        return self._of_sae.get((sae.digest, "trace"), lambda: trace(sae, self.activations(sae)), random=False)

    def cache(self) -> "Cache":
        """One for the whole run: where it computes anew, it does so once per key."""
        from saebench.cache import Cache

        self._cache = self._cache or Cache(fresh=self.fresh)
        return self._cache

    def hook(self, spec: SAESpec) -> str:
        hook = spec.hook or default_hook(self.model_name(spec))
        if hook is None:
            raise ValueError(
                f"{spec.name} does not say which hook it reads: give its object an attribute `hook`, or a stanza in a"
                " family file, as CONTRIBUTING.md shows, a `hook`"
            )
        return hook

    def model_name(self, spec: SAESpec) -> str:
        """What `--sae-model` says, else the SAE's own; the embedded one for what lies here and does not say."""
        own = self.model or model_of(spec)
        if own is None and spec.repo is not None:
            raise ValueError(f"{spec.name} does not say which language model it reads: name it with --sae-model")
        if own is None or own == ORGANISM or Path(own).is_dir():
            return own or ORGANISM
        return model_on_hub(own)

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
            **self._identifying(prop, spec, params), **_outcome(prop, outcome), **self._about_sae(spec), **environment(),
            better=prop.better, unit=prop.unit, seconds=round(seconds, 3), device=self.resolved_device(),
        )  # fmt: skip
        return self.store.append(score, estimate.items if estimate and estimate.items else None)

    def _identifying(self, prop: Property, spec: SAESpec, params: Params) -> dict[str, Any]:
        from saebench.subject import subject_digest

        spec = self.known(spec)
        model = self.model_name(spec)
        words = prop.reads == "words"
        corpus = self.words.plan(spec, str(params.get("concepts", "letters"))).name if words else self.corpus(spec).name
        return {
            "property": prop.name, "version": prop.version,
            "params": {**params, **({"machine": machine()} if prop.machine else {})},
            "sae_digest": spec.digest or self.sae(spec).digest, "model_digest": subject_digest(model, self.resolved_device(), centred=spec.centred),
            "corpus": corpus, "seed": repetition(),
        }  # fmt: skip

    def _about_sae(self, spec: SAESpec) -> dict[str, Any]:
        """Its name, hook and model, and the L0 and FVU measured in this run, whatever order the tests came in."""
        sae = self.sae(spec)
        measured = self._of_sae.get((sae.digest, "l0 and fvu"), lambda: self._l0_and_fvu(sae), random=False)
        names = {"sae": spec.name, "model": self.model_name(sae.spec), "hook": self.hook(sae.spec)}
        subject = self.subject(sae.spec)
        run_with = {"dtype": subject.dtype, "batch_size": subject.batch.size}
        pinned = revisions(self.own(spec), names["model"], self.source(sae.spec))
        about = {"control": spec.control, "architecture": _architecture(sae.spec), "budget": self.budget}
        return {**names, **about, **measured, **run_with, "revisions": pinned}

    def notes(self) -> list[str]:
        """What happened that a user should read: to the scores file, and where memory did not suffice."""
        memory = [f"{name}: {note}" for (name, _), subject in self._subjects.items() for note in subject.batch.notes]
        return [*self.store.notes, *memory]

    def _l0_and_fvu(self, sae: "LoadedSAE") -> dict[str, float | int | None]:
        from saebench.metrics import reconstruction

        try:
            trace = self.trace(sae)
            found = {"l0": reconstruction.l0(trace).value, "fvu": reconstruction.fvu(trace).value}
        except Unscored:
            return {"d_sae": sae.spec.d_sae}
        return {**found, "d_sae": len(trace.fired)}


def _architecture(spec: SAESpec) -> str | None:
    """The one it was trained as, which is not always the one that it is used as."""
    trained_as = spec.facts.get("training_architecture")
    return str(trained_as) if trained_as else spec.architecture


def default_hook(model: str) -> str | None:
    """Hook of the family of a model's name, for SAEs that do not say where they read it."""
    hook: str | None = model_facts(model).get("hook")
    return hook


@cache
def model_facts(model: str) -> dict[str, Any]:
    """What the file of a model's name in fixtures/ says, if there is one."""
    path = fixtures_dir() / f"{model}.toml"
    return tomllib.loads(path.read_text()) if "/" not in model and path.is_file() else {}


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
