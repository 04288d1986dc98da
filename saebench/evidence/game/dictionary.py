"""An SAE's latents at the scene's prompts: directions, rates, and an order that hangs on no name."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import sparse
from torch import Tensor

from saebench.evidence.game.rungs import Pool
from saebench.evidence.game.scene import Scene, generator
from saebench.evidence.trace import Encoded
from saebench.saes.sae import LoadedSAE
from saebench.saes.sparsity import sides, to_sparse
from saebench.stats.statistics import Bools

FEWEST_ACTIVE = 5
"""Tokens on which a latent is active, for it to count as a feature."""
DENSEST = 0.5
"""A latent that is active on more of the tokens is hardly ever off, so that it cannot be turned on."""
LOTS, GOLDEN = 10.0, 0.6180339887498949
"""What numbers are multiplied by, so that what is left behind the point is as good as random."""


@dataclass(frozen=True)
class Dictionary:
    """An SAE's latents: directions, firing rates, and what they do at the scene's prompts."""

    sae: LoadedSAE
    directions: Float[Tensor, "latent d"]
    """Unit decoder directions."""
    norms: Float[Tensor, " latent"]
    rate: Float[np.ndarray, " latent"]
    """Share of tokens; NaN where it is active, but too seldom to be a feature."""
    latents: Float[Tensor, "prompt latent"]
    """At all of the scene's prompts."""
    side: Float[Tensor, " latent"] | float = 1.0
    """What directions and latents were turned by, see `saebench.saes.sparsity.sides`."""

    def write(self, latents: Float[Tensor, "prompt latent"], x: Float[Tensor, "prompt d"]) -> Float[Tensor, "prompt d"]:
        """(prompt, d) what the SAE reconstructs of latents like its own at activations x (prompt, d)."""
        device = self.sae.device
        return self.sae.decode((latents * self.side).to(device), x.to(device)).float().cpu()

    @cached_property
    def active(self) -> Bool[np.ndarray, "prompt latent"]:
        """(prompt, latent)"""
        found: Bools = (self.latents != 0).numpy()
        return found

    @cached_property
    def lot(self) -> Float[np.ndarray, " latent"]:
        """(latent,) a number between 0 and 1 that hangs on its direction alone: not on its place, scale or neighbours."""
        probe = torch.randn(self.directions.shape[1], generator=generator("lot"), dtype=torch.float64)
        return np.asarray((self.directions.double() @ probe).numpy() * LOTS % 1.0)

    def lots(self, prompts: int) -> Float[np.ndarray, "{prompts} latent"]:
        """(prompt, latent) the same, another one at every prompt."""
        return np.asarray(self.lot * np.arange(1, prompts + 1)[:, None] * GOLDEN % 1.0)

    @cached_property
    def live(self) -> Int[np.ndarray, " live"]:
        """Latents that are active often enough and not nearly always, in an order that means nothing."""
        usable = (self.rate > 0) & (self.rate <= DENSEST) & (self.directions.norm(dim=1) > 0).numpy()
        order = np.argsort(self.lot, kind="stable")
        return np.asarray(order[usable[order]])

    @property
    def dead(self) -> Int[np.ndarray, " dead"]:
        return np.flatnonzero((self.rate == 0) & (self.directions.norm(dim=1) > 0).numpy())

    def pool(self, name: str, prompts: int) -> Pool:
        """Its live latents as made-up directions for another SAE."""
        return Pool(name, self.directions[self.live], self.rate[self.live], self.active[:prompts, self.live])


def read_dictionary(sae: LoadedSAE, scene: Scene, encoded: Encoded, *more: sparse.csr_array) -> Dictionary:
    """What the one pass over the corpus has counted already, and the latents at the prompts.

    Latents are turned to the side that they are on in the corpus, or in `more` latents (token, d_sae) of other texts.
    """
    fired = encoded.fired.double().numpy()
    latents = sae.encode(scene.ask.x.to(sae.device)).float().cpu()
    directions, norms = sae.directions(len(fired))
    seldom = (fired > 0) & (fired < FEWEST_ACTIVE)
    rate = np.where(seldom, np.nan, fired / len(encoded.tokens))
    side = torch.from_numpy(sides(to_sparse(latents) if encoded.latents is None else encoded.latents, *more))
    return Dictionary(sae, directions * side[:, None], norms, rate, latents * side, side)
