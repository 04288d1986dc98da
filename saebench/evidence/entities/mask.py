"""Which latents carry an attribute, by training: a mask with an annealed temperature, all attributes at once."""

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from saebench.evidence.entities.latents import Latents
from saebench.evidence.entities.training import train
from saebench.stats.statistics import Ints

RATE = 0.01
"""Of Adam: ten times what is published, for a tenth of the steps."""
COLDEST = 1e-2
"""Temperature of the last step; that of the first is 1."""


def trained(latents: Latents, steps: int) -> Bool[Tensor, "attribute latent"]:
    """(attribute, latent) Huang et al. 2024's multi-task differential binary mask (arXiv 2402.17700), in fewer steps.

    What is trained is theta, with each latent's difference times sigmoid(theta / temperature); it begins at 0, and what
    ends above it is chosen. Latents that are never active at training entities are left out.
    """
    asked, alive = latents.asked, np.flatnonzero(latents.firing)
    directions, norms = latents.sae.directions(latents.d_sae)
    written = (directions * norms[:, None])[alive]
    if not len(alive):
        return torch.zeros(len(asked.facts.attributes), latents.d_sae, dtype=torch.bool)
    theta = torch.zeros(len(asked.facts.attributes), len(alive), requires_grad=True)

    def change(done: float, question: int, patched: Tensor, base: Ints, source: Ints) -> Tensor:
        sites = asked.questions[question].sites
        moved = (latents.dense(question, source) - latents.dense(question, base)).cpu()[:, alive]
        mask = torch.sigmoid(theta / COLDEST**done)[patched][:, None]
        return asked.target[question][base] + (moved.view(len(base), sites, -1) * mask) @ written

    train(asked, theta, change, steps, RATE, "entities.mask")
    chosen = torch.zeros(len(theta), latents.d_sae, dtype=torch.bool)
    chosen[:, torch.from_numpy(alive)] = theta.detach() > 0
    return chosen
