"""What the model answered about one SAE: rungs of real and fake directions, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from saebench.record.score import Unscored

if TYPE_CHECKING:
    from saebench.evidence.game.rungs import Rung


MIXTURE = "covariance_mixture"
Rungs = Mapping[str, "Rung | Unscored"]


@dataclass(frozen=True)
class Lineup:
    """What the model answered about one SAE."""

    rungs: Rungs
    """By the names of `LADDER` and `ACTIVE`."""
    controls: Rungs
    """By the names of `CONTROLS`: directions of known concepts, of token embeddings, of nothing."""
    error_kl: Float[np.ndarray, " prompt"]
    """KL with the SAE's reconstruction in place of the activation."""
    mixture_kl: Float[np.ndarray, " prompt"]
    """Mean KL with an error as large as the SAE's in the direction of a covariance mixture."""
    fvu: float
    """Fraction of variance unexplained at the prompts."""
    plateaus: tuple[Float[np.ndarray, " prompt"], Float[np.ndarray, " prompt"]]
    """Mean plateau along covariance mixtures, around the activation and around one made of like latents."""


def built(rungs: Rungs, name: str) -> Rung:
    """A rung. Raises Unscored for one that could not be built."""
    rung = rungs[name]
    if isinstance(rung, Unscored):
        raise Unscored(rung.reason, broken=rung.broken)  # the rung is kept, and would keep the traceback
    return rung
