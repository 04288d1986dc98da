"""What an SAE's latents change and leave alone, of one kind of entity, beside what bounds it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from saebench.evidence.entities.asked import Asked, Part
from saebench.evidence.entities.choosing import random_alike
from saebench.evidence.entities.latents import Latents
from saebench.evidence.entities.patching import Sums, tally


@dataclass(frozen=True, eq=False)
class Outcome:
    """Sums over pairs of test entities, of `patching.tally`: each is (base entity, question)."""

    asked: Asked
    own: Mapping[str, Sums]
    """With the SAE's error kept and dropped."""
    random: Mapping[str, Sums]
    """The same with as many random latents."""
    bounds: Mapping[str, Sums]
    """Without an SAE: of the whole activation, `full`, and of a linear map, `dense`."""
    latents: Int[np.ndarray, " attribute"]
    """How many are patched."""
    known: Bool[np.ndarray, " attribute"]
    """Whether latents could be chosen for the attribute at all."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the questions."""
        templates = range(1, self.asked.templates + 1)
        return tuple(f"{self.asked.facts.name}/{a}/{t}" for a in self.asked.facts.attributes for t in templates)

    @property
    def right(self) -> Float[np.ndarray, " question"]:
        """Share of the entities that the model is right about by itself."""
        return np.asarray(self.asked.right.mean(axis=1))


def outcome(
    latents: Latents, chosen: Bool[Tensor, "attribute latent"], known: Bool[np.ndarray, " attribute"],
    bounds: Mapping[str, Sums], most: int,
) -> Outcome:  # fmt: skip
    """Patch the chosen latents, and random ones, into pairs of entities that nothing was chosen on."""
    pairs, random = latents.asked.pairs(Part.TEST, most), random_alike(latents, chosen)
    masks = torch.stack([chosen, random])
    own_kept, own_dropped, random_kept, random_dropped = tally(
        latents.asked, partial(latents.patched, masks, ("kept", "dropped")), *pairs
    )
    own, alike = ({"kept": own_kept, "dropped": own_dropped}, {"kept": random_kept, "dropped": random_dropped})
    return Outcome(latents.asked, own, alike, bounds, chosen.sum(1).numpy(), known)
