"""One benchmark run: what it was asked for, what it holds in memory, and how an estimate becomes a score."""

import gc
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from saebench.catalogue.pretrained import model_on_hub
from saebench.catalogue.spec import SAESpec
from saebench.hub.models import default_hook, subject_digest
from saebench.hub.needs import Say, model_of
from saebench.hub.texts import DEFAULT, WORLD, Source, source_of
from saebench.record.budget import BUDGETS, CONTEXT
from saebench.record.places import ORGANISM
from saebench.record.score import Score, Unscored
from saebench.record.store import Store
from saebench.run.architecture_run import ArchitectureRun
from saebench.run.control_run import ControlRun
from saebench.run.dataset_run import DatasetRun
from saebench.run.preparation import prepare, settle
from saebench.run.recorder import Recorder
from saebench.run.shelf import Shelf
from saebench.run.word_run import WordRun
from saebench.saes.told import content_of, told

if TYPE_CHECKING:
    from saebench.evidence.trace import Trace
    from saebench.saes.sae import LoadedSAE
    from saebench.subject.activations import Activations
    from saebench.subject.cache import Cache
    from saebench.subject.corpora import Corpus
    from saebench.subject.subject import Subject


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
    dtype: str | None = None
    """What `--sae-dtype` says."""
    stored: Mapping[str, Score] = field(default_factory=dict)
    """Scores by identity that earlier runs left in the scores file."""
    dtypes: dict[str, str] = field(default_factory=dict)
    """The numbers that each model is run in, by its name."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """By the name of an SAE, why it cannot be read: said of each of its tests, and not tried again."""
    prepared: bool = False
    shelf: Shelf = field(default_factory=Shelf)
    _notes: dict[str, list[str]] = field(default_factory=dict)
    _cache: "Cache | None" = None
    _sae: "LoadedSAE | None" = None

    def __post_init__(self) -> None:
        self.words = WordRun(self)
        self.controls = ControlRun(self)
        self.dataset = DatasetRun(self)
        self.architectures = ArchitectureRun(self)
        self.recorder = Recorder(self)

    def open(self) -> None:
        """Read what the scores file has already; it is not changed before the first score is appended."""
        stored = self.store.stored()
        self.stored = {} if self.fresh else stored

    def prepare(self, say: Say) -> None:
        """Fetch what the run will need, and check that all of it fits together, before anything heavy is loaded.

        Raises ValueError or OSError with one sentence. What is said is said once, however often it is called.
        """
        if not self.prepared:
            prepare(self, say)
        self.prepared = True

    def readable(self) -> list[SAESpec]:
        """The SAEs that nothing is wrong with so far."""
        return [spec for spec in self.specs if spec.name not in self.unreadable]

    def own(self, spec: SAESpec) -> SAESpec:
        """The SAE that a control is made for; others are their own."""
        return spec.origin or spec

    def sae(self, spec: SAESpec) -> "LoadedSAE":
        """The SAE in memory; the one before it is dropped first.

        Raises ValueError or OSError, with one sentence, where it cannot be read; it is not tried again then.
        """
        if spec.name in self.unreadable:
            raise ValueError(self.unreadable[spec.name])
        if self._sae is None or self._sae.spec.name != spec.name:
            self._sae = None
            self.shelf.sae.clear()
            gc.collect()
            try:
                self._sae = self._read(spec)
            except (ImportError, OSError, ValueError) as error:
                self.unreadable[spec.name] = str(error)
                raise
        return self._sae

    def _read(self, spec: SAESpec) -> "LoadedSAE":
        found = self._loaded(spec)
        settle(self, spec, found.spec)
        model = self.model_name(found.spec)
        place = self.hook(found.spec), found.spec.hook_out, self.corpus(found.spec).name
        self.shelf.turn_to(model=(model, found.spec.centred), place=place)
        self._noted(spec, *found.doubts)
        return found

    def holds(self, sae: "LoadedSAE") -> bool:
        """Whether it is the SAE in memory."""
        return self._sae is not None and self._sae.digest == sae.digest

    def _loaded(self, spec: SAESpec) -> "LoadedSAE":
        from saebench.saes.loaders import load_sae

        if spec.loader == "architecture":
            return self.architectures.sae(spec)
        return self._control(spec) if spec.loader == "control" else load_sae(spec, self.resolved_device())

    def _control(self, spec: SAESpec) -> "LoadedSAE":
        """The control of an SAE; one that cannot be made is unscored, whatever is asked of it."""
        from saebench.saes.loaders import load_sae
        from saebench.saes.unmade import unmade

        own, name = load_sae(self.own(spec), self.resolved_device()), spec.name.rpartition("~")[2]
        try:
            made = self.controls.made(own, name)
        except Unscored as reason:
            made = unmade(own, name, reason)
        named = replace(made.spec, name=spec.name, control=True)
        return replace(made, spec=named, unresumable=own.unresumable)

    def known(self, spec: SAESpec) -> SAESpec:
        """The spec with all that its files say, which for some formats only loading tells: once, as it is kept."""
        return self.shelf.sae.get(("known", spec.name), lambda: self._known(spec), random=False)

    def _known(self, spec: SAESpec) -> SAESpec:
        if spec.loader == "architecture":
            return self.architectures.known(spec)
        if (content := content_of(spec)) is not None:
            return told(spec, content, self.cache(), lambda: self.sae(spec))
        found = self.sae(spec)
        return replace(found.spec, digest=found.digest)

    def subject(self, spec: SAESpec) -> "Subject":
        """The model that an SAE is read from; `spec` is that of the loaded SAE."""
        name = self.model_name(spec)
        key = ("subject", name, spec.centred)
        subject = self.shelf.model.get(key, lambda: self._subject(name, spec), random=False)
        for hook in {self.hook(spec), spec.hook_out or self.hook(spec)}:
            subject.check_hook(hook, spec.name)
        return subject

    def _subject(self, name: str, spec: SAESpec) -> "Subject":
        from saebench.subject.batches import contexts_that_fit
        from saebench.subject.subject import load_subject

        device = self.resolved_device()
        subject = load_subject(name, device, centred=spec.centred, dtype=self.dtype_of(name))
        subject.batch.size = contexts_that_fit(device, self.corpus(spec).context, subject.bridge.cfg.d_vocab)
        self._notes[name] = subject.batch.notes
        return subject

    def dtype_of(self, model: str) -> str:
        """The numbers that a model is run in: those that were asked for, else those that fit into memory."""
        if model not in self.dtypes:
            from saebench.subject.subject import dtype_that_fits

            self.dtypes[model] = self.dtype or dtype_that_fits(model, self.resolved_device())
        return self.dtypes[model]

    def model_digest(self, model: str, *, centred: bool) -> str:
        return subject_digest(model, centred=centred, dtype=self.dtype_of(model))

    def source(self, spec: SAESpec) -> Source | None:
        """Where the texts come from that an SAE is read on; None for the embedded model's world."""
        return source_of(self.texts or spec.corpus or (WORLD if self.model_name(spec) == ORGANISM else DEFAULT))

    def corpus(self, spec: SAESpec) -> "Corpus":
        from saebench.hub.models import context_of
        from saebench.subject.corpora import Texts, WorldTexts

        source, documents = self.source(spec), BUDGETS[self.budget].documents
        if source is None:
            return WorldTexts(documents, CONTEXT)
        context = max(CONTEXT, 2 * (spec.context_size or 0))
        return Texts(source, documents, min(context, context_of(self.model_name(spec)) or context), spec.prepend_bos)

    def activations(self, sae: "LoadedSAE") -> "Activations":
        return self.activations_of(self.subject(sae.spec), sae.spec)

    def activations_of(self, subject: "Subject", spec: SAESpec) -> "Activations":
        """What an SAE reads and writes in its own model, or in one with random weights."""
        from saebench.subject.activations import compute_activations

        corpus, hook, out = self.corpus(spec), self.hook(spec), spec.hook_out or self.hook(spec)
        key = ("activations", subject.digest, hook, out, corpus.name)
        make = partial(compute_activations, subject, hook, corpus, self.cache(), out)
        return self.shelf.place.get(key, make, random=False)

    def trace(self, sae: "LoadedSAE") -> "Trace":
        """One pass of the SAE over the corpus; what it could not do is remembered as well."""
        from saebench.evidence.trace import trace

        return self.shelf.sae.get((sae.digest, "trace"), lambda: trace(sae, self.activations(sae)), random=False)

    def cache(self) -> "Cache":
        """One for the whole run: where it computes anew, it does so once per key."""
        from saebench.subject.cache import Cache

        self._cache = self._cache or Cache(fresh=self.fresh)
        return self._cache

    def hook(self, spec: SAESpec) -> str:
        hook = spec.hook or default_hook(self.model_name(spec))
        if hook is None:
            raise ValueError(
                f"{spec.name} does not say which hook it reads: name it, as in --sae {spec.name}@blocks.8.hook_resid_post,"
                " or give its object an attribute `hook`, or a stanza in a family file, as CONTRIBUTING.md shows, a `hook`"
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

    def unresumable(self, spec: SAESpec) -> str:
        """Why scores of earlier runs may be of another SAE, though all that can be seen of it is the same."""
        if content_of(spec) is not None or spec.loader == "architecture":
            return ""
        reason = self.sae(spec).unresumable
        self._noted(spec, *([f"its stored scores are not taken: {reason}"] if reason else []))
        return reason

    def _noted(self, spec: SAESpec, *said: str) -> None:
        known = self._notes.setdefault(spec.name, [])
        known += [line for line in said if line not in known]

    def notes(self) -> list[str]:
        """What happened that a user should read: to the scores file, to SAEs, and where memory did not suffice."""
        return [*self.store.notes, *(f"{name}: {note}" for name, notes in self._notes.items() for note in notes)]
