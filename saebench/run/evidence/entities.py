"""What a model answers about entities, with latents of one patched into another."""

from typing import TYPE_CHECKING

from saebench.catalogue.spec import SAESpec
from saebench.evidence.provider import provides
from saebench.run.entities import Entities

if TYPE_CHECKING:
    from saebench.evidence.entities.outcome import Outcome
    from saebench.saes.sae import LoadedSAE


def entities_read(spec: SAESpec, entities: Entities, chosen: str) -> str:
    """Name of the entities, and of how many pairs of them are patched."""
    return entities.read(spec, chosen)


@provides("disentangled", reads=entities_read)
def disentangled(sae: "LoadedSAE", entities: Entities, chosen: str) -> "list[Outcome]":
    """What the model answers about entities with the latents of one attribute patched, which a test says how to choose."""
    return entities.outcomes(sae, chosen)
