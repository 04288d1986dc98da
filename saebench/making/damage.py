"""Damage of known size, and the truth: SAEs that are known to be worse than a real one, or better than any can be.

A property that does not fall as they are damaged, or does not know the truth from them, measures something else; see
`saebench.reliability.reliability`. What a larger dose damages holds what a smaller one does.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from saebench.making.told import told
from saebench.saes.directions import Linear, random_directions
from saebench.saes.sae import LoadedSAE
from saebench.stats.statistics import seed_of

if TYPE_CHECKING:
    from saebench.making.like import Like


@dataclass(frozen=True)
class Replaced:
    """An SAE of whose latents some read and write random directions, as sparse on average as its own."""

    sae: LoadedSAE
    chosen: Tensor
    """(latent,) whether it is replaced."""
    random: Linear
    mean: Tensor
    """(d,) what the replaced latents write on average, which stays."""

    def encode(self, x: Tensor) -> Tensor:
        own = self.sae.encode(x)
        return torch.where(self.chosen, self.random.encode(x).to(own), own)

    def decode(self, latents: Tensor) -> Tensor:
        kept, others = torch.where(self.chosen, 0.0, latents), torch.where(self.chosen, latents, 0.0)
        return self.sae.decode(kept) + self.mean + self.random.gain * others @ self.random.directions.to(latents)

    def restore(self, y: Tensor, x: Tensor) -> Tensor:
        return self.sae.restore(y, x)


def replaced(like: "Like", percent: int) -> Any:
    """The SAE with a share of its latents, drawn at random, replaced by random directions.

    Their gain is the one at which random directions alone reconstruct best. What the lost latents write on average
    stays, so that the damage is to what the SAE tells apart, and all latents replaced are a control of random directions.
    """
    generator = torch.Generator().manual_seed(seed_of(f"damage.order of {like.sae.digest}"))
    chosen = torch.zeros(like.d_sae, dtype=torch.bool)
    chosen[torch.randperm(like.d_sae, generator=generator)[: round(like.d_sae * percent / 100)]] = True
    random = random_directions(like.x, like.d_sae, like.share, f"damage.directions of {like.sae.digest}")
    own = like.sae.encode(like.x.to(like.sae.device))
    lost = like.sae.decode(own) - like.sae.decode(torch.where(chosen.to(own.device), 0.0, own))
    return Replaced(like.sae, chosen, random.fitted(like.x), lost.float().mean(0).cpu())


@dataclass(frozen=True)
class Noisy:
    """An SAE whose latents write along directions that are a little off."""

    sae: LoadedSAE
    noise: Tensor
    """(latent, d) what is added to each decoder direction."""

    def encode(self, x: Tensor) -> Tensor:
        return self.sae.encode(x)

    def decode(self, latents: Tensor) -> Tensor:
        return self.sae.decode(latents) + latents @ self.noise.to(latents)

    def restore(self, y: Tensor, x: Tensor) -> Tensor:
        return self.sae.restore(y, x)


def noisy(like: "Like", percent: int) -> Any:
    """The SAE with Gaussian noise on its decoder, on average of that share of the norm of each direction."""
    _, norms = like.sae.directions(like.d_sae, like.sae.encode(like.x[:1].to(like.sae.device)).dtype)
    generator = torch.Generator().manual_seed(seed_of(f"damage.noise of {like.sae.digest}"))
    noise = torch.randn(like.d_sae, like.x.shape[1], generator=generator) / like.x.shape[1] ** 0.5
    return Noisy(like.sae, percent / 100 * norms[:, None] * noise)


@dataclass(frozen=True)
class Oracle:
    """One latent per known concept, and the rest of the activation as it is.

    What is left beside the concepts stands in as many further latents as there are dimensions. They are never zero, so
    that they count as features nowhere: not of letters, and not in the game.
    """

    directions: Tensor
    """(concept, d) unit vectors that are read and written along."""
    mean: Tensor
    threshold: Tensor
    """(concept,) of what is read of an activation minus its mean."""

    def encode(self, x: Tensor) -> Tensor:
        read = (x - self.mean) @ self.directions.T
        known = torch.where(read > self.threshold, read, 0.0)
        return torch.cat([known, x - self.mean - known @ self.directions], dim=-1)

    def decode(self, latents: Tensor) -> Tensor:
        known, rest = latents.tensor_split([len(self.directions)], dim=-1)
        return known @ self.directions + rest + self.mean


def oracle(like: "Like") -> Any:
    """The truth as an SAE: it reconstructs exactly, and its latents are probes of what is known to be there."""
    if like.sample is not None:
        return told(like.sample)
    mean = like.x.mean(0)
    if like.known is None:
        return Oracle(like.x.new_zeros(0, like.x.shape[1]), mean, like.x.new_zeros(0))
    directions = like.known.direction
    return Oracle(directions, mean, (like.known.threshold - directions @ mean).clamp(min=0))
