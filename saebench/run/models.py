"""Which language model, hook and texts an SAE is measured with, and the model's activations there."""

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from saebench.catalogue.pretrained import model_on_hub
from saebench.catalogue.spec import SAESpec
from saebench.hub.fit import model_of
from saebench.hub.models import DTYPES, context_of, default_hook, lies_here, subject_digest
from saebench.hub.texts import DEFAULT, WORLD, Source, source_of
from saebench.record.budget import CONTEXT
from saebench.record.naming import shown_model
from saebench.record.places import ORGANISM
from saebench.record.score import Unscored
from saebench.run.options import Options
from saebench.run.shelf import Shelf
from saebench.toy.worlds import World, is_toy, world_of

if TYPE_CHECKING:
    from saebench.subject.activations import Activations
    from saebench.subject.cache import Cache
    from saebench.subject.corpora import Corpus
    from saebench.subject.subject import Subject
    from saebench.toy.sampling import Sample


@dataclass
class Models:
    """Everything is loaded when it is first asked for, and its numbers are of one type for the whole run."""

    options: Options
    shelf: Shelf
    dtypes: dict[str, str] = field(default_factory=dict)
    """The numbers that each model is run in, by its name."""
    notes: dict[str, list[str]] = field(default_factory=dict)
    """What a user should read, by model: where memory did not suffice."""
    _sources: dict[str, Source | None] = field(default_factory=dict)
    """By what names them: the texts themselves say which ones they are, and are read once for that."""
    _cache: "Cache | None" = None
    _device: str | None = None

    def name(self, spec: SAESpec) -> str:
        """What `--sae-model` says, else the SAE's own; the embedded one for what lies here and does not say."""
        own = self.options.model or model_of(spec)
        if own is None and spec.repo is not None:
            raise ValueError(f"{spec.name} does not say which language model it reads: name it with --sae-model")
        return ORGANISM if own is None else own if lies_here(own) else model_on_hub(own)

    def hook(self, spec: SAESpec) -> str:
        """Where an SAE reads. Raises ValueError where neither it nor the user says."""
        hook = spec.hook or default_hook(self.name(spec))
        if hook is None:
            raise ValueError(
                f"{spec.name} does not say which hook it reads: name it, as in --sae {spec.name}@blocks.8.hook_resid_post,"
                " or give its object an attribute `hook`, or a stanza in a family file, as CONTRIBUTING.md shows, a `hook`"
            )
        return hook

    def source(self, spec: SAESpec) -> Source | None:
        """Where the texts come from that an SAE is read on; None for the embedded model's world, and for a toy."""
        if is_toy(self.name(spec)):
            return None
        named = self.options.texts or spec.corpus or (WORLD if self.name(spec) == ORGANISM else DEFAULT)
        if named not in self._sources:
            self._sources[named] = source_of(named)
        return self._sources[named]

    def corpus(self, spec: SAESpec) -> "Corpus":
        """The texts that an SAE is read on, as many as the budget says; of a toy, its samples."""
        from saebench.subject.corpora import Texts, ToySamples, WorldTexts

        if is_toy(model := self.name(spec)):
            return ToySamples(world_of(model), self.options.sizes.samples)

        source, documents = self.source(spec), self.options.sizes.documents
        if source is None:
            return WorldTexts(documents, self.context(spec))
        return Texts(source, documents, self.context(spec), spec.prepend_bos)

    def context(self, spec: SAESpec) -> int:
        """Tokens per document: never more than the model has positions. Raises ValueError where more are asked for."""
        positions, asked = context_of(self.name(spec)), self.options.context
        if asked is not None and positions is not None and asked > positions:
            raise ValueError(f"--sae-context {asked}: {shown_model(self.name(spec))} has {positions} positions")
        context = asked or max(CONTEXT, 2 * (spec.context_size or 0))
        return min(context, positions or context)

    def device(self) -> str:
        """What `--sae-device` says, else a GPU where there is one."""
        if self._device is None:
            self._device = self.options.device or _fastest()
        return self._device

    def dtype(self, model: str) -> str:
        """The numbers that a model is run in: those that were asked for, else those that fit into memory."""
        if is_toy(model):
            return DTYPES[0]
        if model not in self.dtypes:
            from saebench.subject.room import dtype_that_fits

            self.dtypes[model] = self.options.dtype or dtype_that_fits(model, self.device())
        return self.dtypes[model]

    def digest(self, model: str, *, centred: bool) -> str:
        """Of its weights, and of how they are run."""
        return subject_digest(model, centred=centred, dtype=self.dtype(model))

    def cache(self) -> "Cache":
        """One for the whole run: where it computes anew, it does so once per key."""
        from saebench.subject.cache import Cache

        self._cache = self._cache or Cache(fresh=self.options.fresh)
        return self._cache

    def cache_notes(self) -> list[str]:
        """What a user should read of the cache, if it was asked for anything."""
        return self._cache.notes if self._cache is not None else []

    def subject(self, spec: SAESpec) -> "Subject":
        """The model that an SAE is read from; `spec` is that of the loaded SAE. Of a toy, what has nothing to run."""
        from saebench.subject.toy import toy_subject

        if is_toy(name := self.name(spec)):
            return toy_subject(world_of(name), self.device())
        key = ("subject", name, spec.centred)
        subject = self.shelf.model.get(key, lambda: self._loaded(name, spec), random=False)
        for hook in {self.hook(spec), spec.hook_out or self.hook(spec)}:
            subject.check_hook(hook, spec.name)
        return subject

    def _loaded(self, name: str, spec: SAESpec) -> "Subject":
        from saebench.subject.batches import contexts_that_fit
        from saebench.subject.subject import load_subject

        device = self.device()
        subject = load_subject(name, device, centred=spec.centred, dtype=self.dtype(name))
        subject.batch.size = contexts_that_fit(device, self.corpus(spec).context, subject.bridge.cfg.d_vocab)
        self.notes[name] = subject.batch.notes
        return subject

    def random(self, spec: SAESpec, kind: str) -> "Subject":
        """The SAE's model with random weights, one of `random_weights.MODELS`."""
        name = self.name(spec)
        make = partial(self._random, name, kind, spec)
        return self.shelf.model.get(("model", name, kind, spec.centred), make, random=False)

    def _random(self, name: str, kind: str, spec: SAESpec) -> "Subject":
        from saebench.subject.batches import out_of_memory
        from saebench.subject.random_weights import control_model

        try:
            return control_model(name, kind, self.device(), centred=spec.centred, dtype=self.dtype(name))
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise Unscored("the model with random weights does not fit into memory beside the real one") from error

    def sample(self, world: World) -> "Sample":
        """A toy world's samples, as many as the budget says; the same for all SAEs."""
        from saebench.toy.sampling import sample

        count = self.options.sizes.samples
        return self.shelf.place.get(("sample", world.digest, count), lambda: sample(world, count, "evaluation"))

    def activations(self, subject: "Subject", spec: SAESpec) -> "Activations":
        """What an SAE reads and writes in its own model, or in one with random weights."""
        from saebench.subject.activations import compute_activations
        from saebench.subject.corpora import ToySamples
        from saebench.subject.toy import toy_activations

        if isinstance(samples := self.corpus(spec), ToySamples):
            return toy_activations(subject, samples, self.sample(samples.world))
        corpus, hook, out = self.corpus(spec), self.hook(spec), spec.hook_out or self.hook(spec)
        key = ("activations", subject.digest, hook, out, corpus.name)
        make = partial(compute_activations, subject, hook, corpus, self.cache(), out)
        return self.shelf.place.get(key, make, random=False)


def _fastest() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
