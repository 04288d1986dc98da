"""Controls of an SAE: without training, trained on nothing, or trained on random models."""

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from saebench.catalogue.controls import CONTROLS, ControlKind
from saebench.catalogue.spec import check_one_place
from saebench.record.score import Unscored
from saebench.run.documents import Documents
from saebench.run.models import Models
from saebench.run.shelf import Shelf
from saebench.run.words import Words
from saebench.toy.worlds import is_toy, world_of

if TYPE_CHECKING:
    from saebench.evidence.words.detectors import Detectors
    from saebench.evidence.words.study import Study
    from saebench.making.like import Like
    from saebench.metrics.marginal_structure import Control
    from saebench.saes.sae import LoadedSAE
    from saebench.subject.subject import Subject

RANDOM = "random_l0"
SAMPLE = 4096
"""Activations that a control that needs no training is fitted to."""


@dataclass
class ControlSAEs:
    """Everything is made when it is first asked for; what depends on the model alone, once for all SAEs."""

    models: Models
    documents: Documents
    words: Words
    shelf: Shelf

    def of(self, sae: "LoadedSAE") -> "dict[str, Control]":
        """Controls of an SAE, by name; each is made when it is measured, or raises Unscored then."""
        return self.shelf.sae.get((sae.digest, "controls"), lambda: self._made_when_measured(sae))

    def _made_when_measured(self, sae: "LoadedSAE") -> "dict[str, Control]":
        check_one_place(sae.spec)
        if sae.spec.control:
            raise Unscored("it is itself a control")
        return {name: self._control(sae, name, kind) for name, kind in CONTROLS.items() if kind.competes}

    def _control(self, sae: "LoadedSAE", name: str, kind: ControlKind) -> "Control":
        from saebench.metrics.marginal_structure import Control

        def found() -> "tuple[LoadedSAE, Subject]":
            model = self.models.random(sae.spec, name) if kind.random_model else self.models.subject(sae.spec)
            return self.trained(sae, name, model) if kind.trained else self._untrained(sae, name), model

        words = partial(self._random_words, sae) if name == RANDOM else lambda: self._words(*found())
        return Control(
            lambda: self.documents.rebuilt_in(*found()), lambda: self.documents.trace_in(*found()), words,
            trained=kind.trained, of_model=kind.random_model, decoder_only=kind.decoder_only,
        )  # fmt: skip

    def made(self, sae: "LoadedSAE", name: str) -> "LoadedSAE":
        """A control of an SAE by the name that `--sae SAE~NAME` gives it."""
        check_one_place(sae.spec)
        if not CONTROLS[name].trained:
            return self._untrained(sae, name)
        found = self.trained(sae, name, self.models.subject(sae.spec))
        return replace(found, spec=replace(found.spec, name=f"{sae.spec.name}~{name}", control=True))

    def _untrained(self, sae: "LoadedSAE", name: str) -> "LoadedSAE":
        from saebench.making.controls import control_sae

        def make() -> "LoadedSAE":
            like = self.like(sae)
            return control_sae(name, self._told(like) if CONTROLS[name].knows else like)

        return self.shelf.sae.get((sae.digest, "control", name), make)

    def _told(self, like: "Like") -> "Like":
        """With what is known to be in the activations: the letters of words, or the features of a toy world."""
        from saebench.evidence.words.concepts import LETTERS

        spec = like.sae.spec
        if is_toy(model := self.models.name(spec)):
            return replace(like, sample=self.models.sample(world_of(model)))
        return replace(like, known=self.words.probe(spec, LETTERS))

    def trained(self, sae: "LoadedSAE", kind: str, subject: "Subject") -> "LoadedSAE":
        from saebench.making.control_training import trained_control

        like, hook = self.like(sae), self.models.hook(sae.spec)
        key = (sae.digest, "control", kind)
        texts = self.models.corpus(sae.spec)
        make = partial(
            trained_control, kind, like, subject, hook, self.models.options.budget, self.models.cache(), texts
        )
        return self.shelf.sae.get(key, make)

    def like(self, sae: "LoadedSAE") -> "Like":
        """What a control has in common with an SAE."""
        from saebench.making.like import Like
        from saebench.metrics.reconstruction import l0

        trace = self.documents.rebuilt(sae)
        x, _ = self.documents.activations(sae).inside(trace.inside)
        # To a tenth, so that SAEs of one sparsity share what is fitted to it.
        return Like(sae, x[:: -(-len(x) // SAMPLE)], len(trace.fired), round(l0(trace).value, 1))

    def _random_words(self, sae: "LoadedSAE") -> "tuple[Study, Detectors]":
        """Random directions that are as sparse at the words, which are not the texts' typical tokens."""
        from saebench.evidence.words.detectors import find_detectors
        from saebench.evidence.words.study import random_control

        study = random_control(self.words.study(sae, "letters"))
        return study, find_detectors(study)

    def _words(self, sae: "LoadedSAE", subject: "Subject") -> "tuple[Study, Detectors]":
        from saebench.evidence.words.detectors import find_detectors
        from saebench.evidence.words.study import make_study

        def measure() -> "tuple[Study, Detectors]":
            readings, probe = self.words.readings_of(subject, sae.spec), self.words.probe_of(subject, sae.spec)
            # What it detects counts, whatever it reconstructs.
            study = replace(make_study(sae, readings, probe), fvu=0.0)
            return study, find_detectors(study)

        return self.shelf.of(sae).get(("words", sae.digest, subject.digest), measure)
