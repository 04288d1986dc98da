"""What a model is to forget, asked once per model and hook, and what an SAE can do about it."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from saebench.hub.texts import source_of
from saebench.record.naming import shown_model
from saebench.record.score import Unreadable, Unscored
from saebench.run.models import Models
from saebench.run.shelf import Shelf
from saebench.toy.worlds import is_toy

if TYPE_CHECKING:
    from saebench.catalogue.spec import SAESpec
    from saebench.evidence.unlearning.material import Material, Plan
    from saebench.evidence.unlearning.unlearned import Unlearned
    from saebench.hub.needs import Made, Need
    from saebench.saes.sae import LoadedSAE


@dataclass
class Topics:
    """Everything is made when it is first asked for."""

    models: Models
    shelf: Shelf

    def plan(self, spec: "SAESpec") -> "Plan":
        """What is asked of an SAE's model. Raises Unscored where no topic is known for it."""
        from saebench.evidence.unlearning.material import Plan
        from saebench.evidence.unlearning.topic import topic_of

        model = self.models.name(spec)
        if is_toy(model):
            self.models.subject(spec).bridge.check()  # raises Unscored with what is said of every toy
        topic = topic_of(model)
        if topic is None:
            raise Unscored(
                f"{shown_model(model)} has no topic to forget: a file in fixtures/unlearning names texts and questions"
            )
        return Plan(topic, self.models.options.sizes, spec.prepend_bos)

    def needs(self, spec: "SAESpec") -> "list[Need | Made]":
        """What the texts of an SAE's model's topic need of the hub or the package index; nothing where it has no topic."""
        from saebench.hub.needs import of_corpus

        try:
            topic = self.plan(spec).topic
        except Unscored:
            return []
        sides = (topic.forget, topic.retain)
        asked: list[Need | Made] = [side.choices.source().need() for side in sides if side.choices is not None]
        return asked + [need for side in sides if side.texts for need in of_corpus(source_of(side.texts))]

    def name(self, spec: "SAESpec") -> str:
        """Name of what is read, whether or not it is here."""
        try:
            return self.plan(spec).name
        except Unscored:
            return self.models.corpus(spec).name

    def material(self, spec: "SAESpec") -> "Material":
        """The model's activations on texts of both kinds, and its answers."""
        from saebench.evidence.unlearning.material import read_material

        plan, subject = self.plan(spec), self.models.subject(spec)
        hook, out = self.models.hook(spec), spec.hook_out or self.models.hook(spec)
        make = partial(read_material, subject, hook, out, plan, self.models.cache())
        try:
            return self.shelf.place.get(("unlearning", subject.digest, hook, out, plan.name), make, random=False)
        except OSError as error:
            raise Unreadable(str(error)) from error

    def unlearned(self, sae: "LoadedSAE") -> "Unlearned":
        """What the model forgets when latents of the SAE are clamped, and of the controls."""
        from saebench.evidence.unlearning.unlearned import dense_of, unlearned

        material = self.material(sae.spec)
        key = ("unlearning dense", material.name)
        dense = self.shelf.place.get(key, lambda: dense_of(material), random=False)
        return unlearned(sae, material, dense)
