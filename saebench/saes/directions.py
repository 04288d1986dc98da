"""Latents along given directions: what an SAE is that nobody trained."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from saebench.stats.statistics import seed_of

QUANTILE_ROWS = 1024
"""Rows from which a threshold is taken."""


@dataclass(frozen=True)
class Linear:
    """Latents that read an activation minus `mean`, along unit directions, where they exceed a threshold."""

    directions: Tensor
    """(latent, d)"""
    mean: Tensor
    threshold: float
    gain: float = 1.0
    """What latents are multiplied by in the reconstruction: one number, fitted to the activations."""

    def encode(self, x: Tensor) -> Tensor:
        read = (x - self.mean) @ self.directions.T
        return torch.where(read > self.threshold, read, 0.0)

    def decode(self, latents: Tensor) -> Tensor:
        return self.gain * latents @ self.directions + self.mean

    def fitted(self, x: Tensor) -> "Linear":
        """With the gain that reconstructs x (token, d) best."""
        made = self.encode(x) @ self.directions
        return replace(self, gain=float(((x - self.mean) * made).sum() / made.square().sum().clamp(min=1e-30)))


def random_directions(x: Tensor, d_sae: int, share: float, purpose: str) -> Linear:
    """Random unit directions that are active for a share of all pairs of latent and activation (token, d).

    They read the activation minus its mean, and are on above one threshold for all: an SAE that was not trained.
    """
    directions = torch.randn(d_sae, x.shape[1], generator=torch.Generator().manual_seed(seed_of(purpose)))
    directions, mean = torch.nn.functional.normalize(directions, dim=1), x.mean(0)
    every = -(-len(x) // QUANTILE_ROWS)
    threshold = float(np.quantile(((x[::every] - mean) @ directions.T).numpy(), 1 - share))
    return Linear(directions, mean, max(threshold, 0.0))
