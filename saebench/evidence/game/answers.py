"""What the model answered about one SAE: rungs of real and fake directions, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from saebench.evidence.game import games
from saebench.record.score import Unscored
from saebench.stats.statistics import CONFIDENCE

if TYPE_CHECKING:
    from saebench.evidence.game.rungs import Rung


MIXTURE = "covariance_mixture"
POSITIVE = ("token_means", "next_token_means", "difference_of_means", "token_embeddings")
"""Controls that no SAE has a part in: directions of what is known to be in the texts."""
Rungs = Mapping[str, "Rung | Unscored"]


@dataclass(frozen=True)
class Lineup:
    """What the model answered about one SAE."""

    rungs: Rungs
    """By the names of `LADDER` and `ACTIVE`."""
    controls: Rungs
    """By the names of `CONTROLS`: directions of what is known, and of nothing."""
    error_kl: Float[np.ndarray, " prompt"]
    """KL with the SAE's reconstruction in place of the activation."""
    mixture_kl: Float[np.ndarray, " prompt"]
    """Mean KL with an error as large as the SAE's in the direction of a covariance mixture."""
    fvu: float
    """Fraction of variance unexplained at the prompts."""
    plateaus: tuple[Float[np.ndarray, " prompt"], Float[np.ndarray, " prompt"]]
    """Mean plateau along covariance mixtures, around the activation and around one made of like latents."""

    @cached_property
    def untold(self) -> str | None:
        """Why nothing that the game says of features means anything; None where the model tells known directions.

        At least one kind of them, beyond chance: intervals are corrected for their number (Bonferroni).
        """
        kinds = [name for name in POSITIVE if name in self.controls]
        said = []
        for name in kinds:
            try:
                resampled = games.resampled_auc(counted(self.controls, name).table())
                games.interval(resampled)
            except Unscored as unscored:
                said.append(f"{name}: {unscored.reason}")
                continue
            if np.nanquantile(resampled[1:], (1 - CONFIDENCE) / 2 / len(kinds)) > 0.5:
                return None
            said.append(f"{name}: AUC {resampled[0]:.2f}")
        return f"the game does not tell known directions either ({'; '.join(said) or 'none were asked about'})"


def counted(rungs: Rungs, name: str) -> Rung:
    """A rung that counts. Raises Unscored for one that could not be built or whose fakes are not like the features."""
    rung = built(rungs, name)
    if rung.imbalance is not None:
        told = games.point_auc(rung.table())
        raise Unscored(f"the fakes are not like the features: {rung.imbalance} (AUC {told:.2f} unmatched)")
    return rung


def built(rungs: Rungs, name: str) -> Rung:
    """A rung. Raises Unscored for one that could not be built."""
    rung = rungs[name]
    if isinstance(rung, Unscored):
        raise Unscored(rung.reason, broken=rung.broken)  # the rung is kept, and would keep the traceback
    return rung
