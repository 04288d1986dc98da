"""SAEs of toy worlds, beside the features that are on."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from saebench.record.naming import shown_model
from saebench.record.score import Unscored
from saebench.run.models import Models
from saebench.run.shelf import Shelf
from saebench.toy.worlds import is_toy, world_of

if TYPE_CHECKING:
    from saebench.evidence.known import Known
    from saebench.saes.sae import LoadedSAE


@dataclass
class Samples:
    """Each SAE is read once."""

    models: Models
    shelf: Shelf

    def known(self, sae: "LoadedSAE") -> "Known":
        """The SAE's latents beside the features. Raises Unscored for an SAE of a language model, whose features nobody knows."""
        from saebench.evidence.known import known

        if not is_toy(model := self.models.name(sae.spec)):
            raise Unscored(f"the features of {shown_model(model)} are not known, as those of a toy world are")
        world = world_of(model)
        return self.shelf.sae.get((sae.digest, "known"), lambda: known(sae, world, self.models.sample(world)))
