"""An SAE at entities whose attributes are known: readings and bounds for all SAEs of a place, outcomes of the one in memory."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saebench.catalogue.spec import SAESpec
from saebench.evidence.entities.facts import hub_entities, kinds_for, load_facts
from saebench.hub.models import model_facts
from saebench.record.score import Unreadable, Unscored
from saebench.run.models import Models
from saebench.run.shelf import Shelf
from saebench.toy.worlds import is_toy

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

    from saebench.evidence.entities.asked import Asked
    from saebench.evidence.entities.facts import Facts
    from saebench.evidence.entities.gradients import Gradients
    from saebench.evidence.entities.latents import Latents
    from saebench.evidence.entities.outcome import Outcome
    from saebench.evidence.entities.patching import Sums
    from saebench.hub.needs import Made, Need
    from saebench.saes.sae import LoadedSAE

DEFAULT = ["cities"]
"""What a model is asked about that neither its own file in fixtures/ nor one in fixtures/entities/ speaks of."""
MASK = "mask"
PROBE = "probe"


@dataclass
class Entities:
    """Everything is made when it is first asked for."""

    models: Models
    shelf: Shelf

    def facts(self, spec: SAESpec) -> "list[Facts]":
        """Kinds of entities that an SAE's model is asked about. Raises Unscored where some are not on this machine."""
        try:
            return [load_facts(name) for name in self.names(spec)]
        except OSError as error:
            raise Unscored(str(error)) from error
        except ValueError as error:
            raise Unreadable(str(error)) from error

    def names(self, spec: SAESpec) -> list[str]:
        """Of the kinds: what the model's file in fixtures/ says, else the kinds whose files name the model."""
        model = self.models.name(spec)
        told: list[str] | None = model_facts(model).get("entities")
        return told or kinds_for(model) or DEFAULT

    def needs(self, spec: SAESpec) -> "list[Need | Made]":
        """Files of the hub that say what an SAE's model is asked about."""
        if is_toy(self.models.name(spec)):
            return []
        kinds = map(hub_entities, self.names(spec))
        return [kind.need() for kind in kinds if kind is not None]

    def read(self, spec: SAESpec, chosen: str) -> str:
        """Name of the entities, of how many pairs, and of the steps of training where there is one."""
        if is_toy(model := self.models.name(spec)):
            return model
        sizes = self.models.options.sizes
        dense = f"/{sizes.subspace_steps}-steps-dense" if sizes.subspace_steps else ""
        steps = f"/{sizes.mask_steps}-steps" if chosen == MASK else ""
        return f"entities/{','.join(map(_identity, self.names(spec)))}/{sizes.pairs}-pairs{dense}{steps}"

    def asked(self, spec: SAESpec) -> "list[Asked]":
        from saebench.evidence.entities.asked import ask

        subject, hook = self.models.subject(spec), self.models.hook(spec)
        out, cache = spec.hook_out or hook, self.models.cache()
        key = ("entities", subject.digest, hook, out)
        if is_toy(self.models.name(spec)):
            subject.check_hook(hook)
            return []
        return self.shelf.place.get(key, lambda: [ask(subject, facts, hook, out, cache) for facts in self.facts(spec)])

    def outcomes(self, sae: "LoadedSAE", chosen: str) -> "list[Outcome]":
        """Of each kind of entity, with latents chosen by `gradient`, `probe` or `mask`."""
        kinds = self.asked(sae.spec)
        if chosen == MASK and not self.models.options.sizes.mask_steps:
            raise Unscored("a mask is trained from --sae-budget standard on, and this one is smaller")
        return [self._outcome(sae, asked, chosen) for asked in kinds]

    def _outcome(self, sae: "LoadedSAE", asked: "Asked", chosen: str) -> "Outcome":
        from saebench.evidence.entities.choosing import best_counted
        from saebench.evidence.entities.latents import read_latents
        from saebench.evidence.entities.mask import trained
        from saebench.evidence.entities.outcome import outcome

        sizes, (found, bounds) = self.models.options.sizes, self._bounds(sae.spec, asked)
        latents = self.shelf.sae.get((sae.digest, "entities", asked.facts.name), lambda: read_latents(sae, asked))
        rank, known = self._ranked(latents, found, chosen)
        mask = trained(latents, sizes.mask_steps) if chosen == MASK else best_counted(latents, rank, sizes.pairs)
        return outcome(latents, mask, known, bounds, sizes.pairs)

    def _ranked(
        self, latents: "Latents", found: "Gradients", chosen: str
    ) -> "tuple[Float[np.ndarray, 'attribute latent'], Bool[np.ndarray, ' attribute']]":
        """How latents rank, and for which attributes a choice is possible."""
        from saebench.evidence.entities.choosing import by_gradient, by_probe, repeats

        if chosen == PROBE:
            return by_probe(latents), repeats(latents.asked)
        rank = by_gradient(latents, found)
        return rank, np.ones(len(rank), dtype=bool)

    def _bounds(self, spec: SAESpec, asked: "Asked") -> "tuple[Gradients, dict[str, Sums]]":
        """Gradients, and sums without an SAE: once per place, through the cache."""
        from saebench.evidence.entities.bounds import bounds

        subject, hook = self.models.subject(spec), self.models.hook(spec)
        key = ("entities", "bounds", subject.digest, hook, spec.hook_out, asked.facts.name)
        out, sizes = spec.hook_out or hook, self.models.options.sizes
        most, steps, cache = sizes.pairs, sizes.subspace_steps, self.models.cache()
        return self.shelf.place.get(key, lambda: bounds(asked, subject, hook, out, most, steps, cache))


def _identity(name: str) -> str:
    """Of a kind of entity, and of all that is told of it."""
    told = hub_entities(name)
    return told.identity if told is not None else f"{name}@{load_facts(name).digest}"
