"""The part of a run that is about controls: SAEs without training, trained on nothing, or trained on random models."""

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from saebench.catalogue.spec import transcodes
from saebench.record.budget import BUDGETS
from saebench.record.score import Unscored

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from saebench.catalogue.spec import SAESpec
    from saebench.evidence.game.answers import Lineup, Rungs
    from saebench.evidence.game.lineup import Dictionary
    from saebench.evidence.game.scene import Scene
    from saebench.evidence.memory import Memory
    from saebench.evidence.trace import Trace
    from saebench.evidence.words.detectors import Detectors
    from saebench.evidence.words.probes import Probe
    from saebench.evidence.words.study import Study
    from saebench.making.like import Like
    from saebench.metrics.marginal_structure import Control
    from saebench.run.run import Run
    from saebench.saes.sae import LoadedSAE
    from saebench.subject.activations import Activations
    from saebench.subject.subject import Subject

RANDOM = "random_l0"
UNTRAINED = (RANDOM, "permuted_decoder", "pca")
"""Controls that compete in marginal structure without having been trained; see `controls.SAES` for all there are."""
FROZEN = ("frozen", "soft_frozen")
SAMPLE = 4096
"""Activations that a control that needs no training is fitted to."""


@dataclass
class ControlRun:
    """Everything is made when it is first asked for; what depends on the model alone, once for all SAEs."""

    run: "Run"

    def lineup(self, sae: "LoadedSAE") -> "Lineup":
        self._check_one_place(sae)
        return self.run.shelf.sae.get((sae.digest, "lineup"), lambda: self._lineup(sae))

    def _check_one_place(self, sae: "LoadedSAE") -> None:
        if sae.spec.hook_out not in (None, sae.spec.hook):
            raise Unscored(transcodes(sae.spec))

    def _lineup(self, sae: "LoadedSAE") -> "Lineup":
        from saebench.evidence.game.lineup import make_lineup

        scene, own = self.own(sae)
        others = {
            "shuffled_sae": partial(self._dictionary, sae, "shuffled_rows"),
            "soft_frozen_sae": partial(self._dictionary, sae, "soft_frozen"),
        }
        random = partial(self._random_scene, sae, "random_model")
        return make_lineup(scene, own, others, random, self.positive(sae))

    def rungs(self, sae: "LoadedSAE", control: str) -> "Rungs":
        """Those among which a control of the game is; no line-up is made for one that no SAE has a part in."""
        from saebench.metrics.distinguishability import POSITIVE

        return self.positive(sae) if control in POSITIVE else self.lineup(sae).controls

    def own(self, sae: "LoadedSAE", *more: "csr_array") -> "tuple[Scene, Dictionary]":
        """The prompts at which an SAE's features are asked about, and the features, which may fire in `more` latents."""
        from saebench.evidence.game.lineup import read_dictionary

        scene = self._scene(sae, self.run.subject(sae.spec))
        return scene, read_dictionary(sae, scene, self.run.trace(sae), *more)

    def _scene(self, sae: "LoadedSAE", subject: "Subject") -> "Scene":
        from saebench.evidence.game.scene import make_scene

        inside = sae.spec.context_size or self.run.corpus(sae.spec).context
        activations = self._activations(sae.spec, subject)
        key = ("scene", subject.digest, activations.hook, inside)
        return self.run.shelf.place.get(key, lambda: make_scene(activations, inside, BUDGETS[self.run.budget].game))

    def _random_scene(self, sae: "LoadedSAE", kind: str) -> "Scene":
        return self._scene(sae, self._random_model(sae.spec, kind))

    def positive(self, sae: "LoadedSAE") -> "Rungs":
        """Directions of what is known to be in the texts, at the prompts: whatever the SAE makes of them."""
        from saebench.evidence.game.lineup import positive_controls

        scene = self._scene(sae, self.run.subject(sae.spec))
        key = ("positive", scene.subject.digest, scene.ask.hook, sae.spec.context_size)
        return self.run.shelf.place.get(key, lambda: positive_controls(scene))

    def _dictionary(self, sae: "LoadedSAE", kind: str) -> "Dictionary":
        from saebench.evidence.game.lineup import read_dictionary

        subject = self.run.subject(sae.spec)
        scene, other = self._scene(sae, subject), self._trained(sae, kind, subject)
        if other.digest == sae.digest:
            raise Unscored("the SAE is itself this control")
        key = ("dictionary", other.digest, scene.subject.digest, scene.ask.hook, sae.spec.context_size)
        return self.kept(other).get(key, lambda: read_dictionary(other, scene, self.trace(other, subject)))

    def controls(self, sae: "LoadedSAE") -> "dict[str, Control]":
        """Controls of an SAE, by name; each is made when it is measured, or raises Unscored then."""
        return self.run.shelf.sae.get((sae.digest, "controls"), lambda: self._controls(sae))

    def _controls(self, sae: "LoadedSAE") -> "dict[str, Control]":
        from saebench.subject.random_weights import MODELS

        self._check_one_place(sae)
        if sae.spec.control:
            raise Unscored("it is itself a control")
        subject = self.run.subject(sae.spec)
        untrained = {name: self._control(sae, name, subject) for name in UNTRAINED}
        frozen = {name: self._control(sae, name, subject) for name in FROZEN}
        return untrained | frozen | {name: self._control(sae, name, None) for name in MODELS}

    def _control(self, sae: "LoadedSAE", name: str, subject: "Subject | None") -> "Control":
        """`subject` is None for a control that has a random model of its own."""
        from saebench.metrics.marginal_structure import Control

        def found() -> "tuple[LoadedSAE, Subject]":
            model = subject or self._random_model(sae.spec, name)
            made = self._untrained(sae, name) if name in UNTRAINED else self._trained(sae, name, model)
            return made, model

        words = partial(self._random_words, sae) if name == RANDOM else lambda: self._words(*found())
        return Control(
            lambda: self.trace(*found()), words, trained=name not in UNTRAINED,
            of_model=subject is None, decoder_only=name == "permuted_decoder",
        )  # fmt: skip

    def made(self, sae: "LoadedSAE", name: str) -> "LoadedSAE":
        """A control of an SAE by the name that `--sae SAE~NAME` gives it."""
        from saebench.making.controls import SAES

        self._check_one_place(sae)
        if name in SAES:
            return self._untrained(sae, name)
        found = self._trained(sae, name, self.run.subject(sae.spec))
        return replace(found, spec=replace(found.spec, name=f"{sae.spec.name}~{name}", control=True))

    def _untrained(self, sae: "LoadedSAE", name: str) -> "LoadedSAE":
        from saebench.making.controls import control_sae
        from saebench.making.damage import ORACLE

        def make() -> "LoadedSAE":
            like = self.like(sae)
            return control_sae(name, replace(like, known=self._known(sae)) if name == ORACLE else like)

        return self.run.shelf.sae.get((sae.digest, "control", name), make)

    def _known(self, sae: "LoadedSAE") -> "Probe":
        """What is known to be in the activations: the letters of words."""
        from saebench.evidence.words.concepts import LETTERS

        return self.run.words.probe(sae.spec, LETTERS)

    def _trained(self, sae: "LoadedSAE", kind: str, subject: "Subject") -> "LoadedSAE":
        from saebench.making.control_training import trained_control

        like, hook = self.like(sae), self.run.hook(sae.spec)
        key = (sae.digest, "control", kind)
        texts = self.run.corpus(sae.spec)
        make = partial(trained_control, kind, like, subject, hook, self.run.budget, self.run.cache(), texts)
        return self.run.shelf.sae.get(key, make)

    def like(self, sae: "LoadedSAE") -> "Like":
        """What a control has in common with an SAE."""
        from saebench.making.like import Like
        from saebench.metrics.reconstruction import l0

        trace = self.run.trace(sae)
        x, _ = self.run.activations(sae).inside(trace.inside)
        # To a tenth, so that SAEs of one sparsity share what is fitted to it.
        return Like(sae, x[:: -(-len(x) // SAMPLE)], len(trace.fired), round(l0(trace).value, 1))

    def kept(self, sae: "LoadedSAE") -> "Memory":
        """Where it is kept what is read off an SAE: one of the zoo serves all, one that was made for an SAE it alone."""
        shelf, own = self.run.shelf, self.run.holds(sae) or sae.spec.origin is not None
        return shelf.sae if own else shelf.place

    def trace(self, sae: "LoadedSAE", subject: "Subject") -> "Trace":
        from saebench.evidence.trace import trace

        key = ("trace", sae.digest, subject.digest, sae.spec.context_size)
        return self.kept(sae).get(key, lambda: trace(sae, self._activations(sae.spec, subject)), random=False)

    def _random_words(self, sae: "LoadedSAE") -> "tuple[Study, Detectors]":
        """Random directions that are as sparse at the words, which are not the texts' typical tokens."""
        from saebench.evidence.words.detectors import find_detectors
        from saebench.evidence.words.study import random_control

        study = random_control(self.run.words.study(sae, "letters"))
        return study, find_detectors(study)

    def _words(self, sae: "LoadedSAE", subject: "Subject") -> "tuple[Study, Detectors]":
        from saebench.evidence.words.detectors import find_detectors
        from saebench.evidence.words.study import make_study

        def measure() -> "tuple[Study, Detectors]":
            readings, probe = self.run.words.readings_of(subject, sae.spec), self.run.words.probe_of(subject, sae.spec)
            # What it detects counts, whatever it reconstructs.
            study = replace(make_study(sae, readings, probe), fvu=0.0)
            return study, find_detectors(study)

        return self.kept(sae).get(("words", sae.digest, subject.digest), measure)

    def _random_model(self, spec: "SAESpec", kind: str) -> "Subject":
        from saebench.subject.batches import out_of_memory
        from saebench.subject.random_weights import control_model

        name, centred = self.run.model_name(spec), spec.centred

        def make() -> "Subject":
            try:
                device, dtype = self.run.resolved_device(), self.run.dtype_of(name)
                return control_model(name, kind, device, centred=centred, dtype=dtype)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                raise Unscored("the model with random weights does not fit into memory beside the real one") from error

        return self.run.shelf.model.get(("model", name, kind, centred), make, random=False)

    def _activations(self, spec: "SAESpec", subject: "Subject") -> "Activations":
        return self.run.activations_of(subject, spec)
