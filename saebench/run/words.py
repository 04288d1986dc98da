"""An SAE at words: readings and probes for all SAEs of a place, studies of the one in memory."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from saebench.catalogue.spec import check_one_place
from saebench.record.score import Unscored
from saebench.run.models import Models
from saebench.run.shelf import Shelf
from saebench.toy.worlds import is_toy, world_of

if TYPE_CHECKING:
    from saebench.catalogue.spec import SAESpec
    from saebench.evidence.words.concepts import Plan
    from saebench.evidence.words.detectors import Detectors
    from saebench.evidence.words.probes import Probe
    from saebench.evidence.words.readings import Readings
    from saebench.evidence.words.speller import Speller
    from saebench.evidence.words.study import Probed, Study
    from saebench.saes.sae import LoadedSAE
    from saebench.subject.subject import Subject


@dataclass
class Words:
    """Everything is made when it is first asked for."""

    models: Models
    shelf: Shelf

    def plan(self, spec: "SAESpec", concepts: str) -> "Plan":
        """Which words are read; the table [words] of the model's file in fixtures/ says how letters are asked for."""
        model = self.models.name(spec)
        return self.shelf.place.get(("plan", model, concepts), lambda: self._plan(model, concepts), random=False)

    def _plan(self, model: str, concepts: str) -> "Plan":
        from saebench.evidence.words.concepts import LETTERS, Plan, load_concepts
        from saebench.evidence.words.vocabulary import WordFilter
        from saebench.hub.models import model_facts
        from saebench.subject.corpora import reference_name

        budget = self.models.options.sizes
        if is_toy(model):
            from saebench.evidence.words.sampled import sampled_plan

            return sampled_plan(world_of(model), budget.samples)
        chosen = load_concepts(concepts)
        if concepts != LETTERS:
            return Plan(chosen, WordFilter(), budget.prefixes, most=budget.words)
        facts = dict(model_facts(model).get("words", {}))
        asked = {name: facts.pop(name) for name in ("template", "separator") if name in facts}
        try:
            kept = WordFilter(**facts)
            reference = reference_name() if kept.seen else ""
            return Plan(replace(chosen, **asked), kept, budget.prefixes, most=budget.words, reference=reference)
        except TypeError as error:
            raise ValueError(f"table [words] of fixtures/{model}.toml: {error}") from None

    def readings(self, spec: "SAESpec", concepts: str) -> "Readings":
        return self.readings_of(self.models.subject(spec), spec, concepts)

    def readings_of(self, subject: "Subject", spec: "SAESpec", concepts: str = "letters") -> "Readings":
        """Readings of a model, also of one with random weights; of a toy world, its samples."""
        from saebench.evidence.words.readings import read_words
        from saebench.evidence.words.sampled import sampled_readings

        hook, plan = self.models.hook(spec), self.plan(spec, concepts)
        key = ("readings", subject.digest, hook, plan.name)
        if is_toy(model := self.models.name(spec)):
            if concepts != "letters":
                raise Unscored(f"the concepts of a toy world are parents among its features, and no {concepts}")
            world = world_of(model)
            return self.shelf.place.get(key, lambda: sampled_readings(world, self.models.sample(world), plan))
        return self.shelf.place.get(key, lambda: read_words(subject, hook, plan, self.models.cache()))

    def probe(self, spec: "SAESpec", concepts: str) -> "Probe":
        return self.probe_of(self.models.subject(spec), spec, concepts)

    def probe_of(self, subject: "Subject", spec: "SAESpec", concepts: str = "letters") -> "Probe":
        from saebench.evidence.words.readings import read_probe

        readings = self.readings_of(subject, spec, concepts)
        key = ("probe", subject.digest, readings.hook, readings.plan.name)
        return self.shelf.place.get(key, lambda: read_probe(subject, readings, self.models.cache()))

    def speller(self, spec: "SAESpec", concepts: str) -> "Speller":
        from saebench.evidence.words.speller import make_speller

        subject, readings = self.models.subject(spec), self.readings(spec, concepts)
        key = ("speller", subject.digest, readings.hook, readings.plan.name)
        probe = self.probe(spec, concepts)
        return self.shelf.place.get(key, lambda: make_speller(subject, readings, probe, self.models.cache()))

    def probed(self, spec: "SAESpec", concepts: str) -> "Probed":
        """The words and their probe, whatever the SAE makes of them."""
        from saebench.evidence.words.study import make_probed

        readings, probe = self.readings(spec, concepts), self.probe(spec, concepts)
        return self.shelf.place.get(("probed", readings.plan.name), lambda: make_probed(readings, probe))

    def study(self, sae: "LoadedSAE", concepts: str) -> "Study":
        from saebench.evidence.words.study import make_study

        check_one_place(sae.spec)
        readings, probe = self.readings(sae.spec, concepts), self.probe(sae.spec, concepts)
        return self.shelf.sae.get((sae.digest, "study", concepts), lambda: make_study(sae, readings, probe))

    def detectors(self, sae: "LoadedSAE", concepts: str) -> "Detectors":
        from saebench.evidence.words.detectors import find_detectors

        study = self.study(sae, concepts)
        return self.shelf.sae.get((sae.digest, "detectors", concepts), lambda: find_detectors(study))
