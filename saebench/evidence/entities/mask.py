"""Which latents carry an attribute, by training: a mask with an annealed temperature, all attributes at once."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from saebench.evidence.entities.asked import Asked, Part
from saebench.evidence.entities.gradients import MOST
from saebench.evidence.entities.latents import Latents
from saebench.evidence.entities.patching import asked_in
from saebench.stats.statistics import Ints, seed_of

PAIRS = 16
"""Pairs of a step."""
RATE = 0.01
"""Of Adam: ten times what is published, for a tenth of the steps."""
COLDEST = 1e-2
"""Temperature of the last step; that of the first is 1."""


def trained(latents: Latents, steps: int) -> Bool[Tensor, "attribute latent"]:
    """(attribute, latent) Huang et al. 2024's multi-task differential binary mask (arXiv 2402.17700), in fewer steps.

    Training minimises the cross-entropy of the source's value where the attribute is asked for and that of the base's
    value where others are, with each latent's difference times sigmoid(theta / temperature); theta begins at 0, and what
    ends above it is chosen. Latents that are never active at training entities are left out.
    """
    asked, alive = latents.asked, np.flatnonzero(latents.firing)
    directions, norms = latents.sae.directions(latents.d_sae)
    written = (directions * norms[:, None])[alive]
    base, source = asked.pairs(Part.TRAIN, MOST)
    rng = np.random.default_rng(seed_of("entities.mask"))
    theta = torch.zeros(len(asked.facts.attributes), len(alive), requires_grad=True)
    adam = torch.optim.Adam([theta], RATE)
    for step, temperature in enumerate(np.geomspace(1.0, COLDEST, steps).tolist()):
        drawn = rng.choice(len(base), min(PAIRS, len(base)), replace=False)
        adam.zero_grad()
        for attribute in range(len(asked.facts.attributes)):
            question = asked.number(attribute, step % asked.templates)
            _learn(latents, alive, written, theta, temperature, question, base[drawn], source[drawn])
        adam.step()
    chosen = torch.zeros(len(theta), latents.d_sae, dtype=torch.bool)
    chosen[:, torch.from_numpy(alive)] = theta.detach() > 0
    return chosen


def _learn(
    latents: Latents, alive: Ints, written: Tensor, theta: Tensor, temperature: float, question: int, base: Ints,
    source: Ints,
) -> None:  # fmt: skip
    """Add the gradient of the loss on one question, asked with each attribute patched."""
    asked = latents.asked
    rows = list(asked_in(asked, question, base, source))
    here = np.concatenate([pairs for _, pairs in rows])
    if not len(here):
        return
    patched = torch.from_numpy(np.repeat([attribute for attribute, _ in rows], [len(pairs) for _, pairs in rows]))
    b, s = base[here], source[here]
    sites = asked.questions[question].sites
    moved = (latents.dense(question, s) - latents.dense(question, b)).cpu()[:, alive].view(len(here), sites, -1)
    with torch.enable_grad():
        mask = torch.sigmoid(theta / temperature)[patched][:, None]
        x = asked.target[question][b] + (moved * mask) @ written
        logits = asked.questions[question].logits(asked.tokens[question][b], asked.entering[question][b], x)
        _loss(asked, question, patched, b, s, logits).backward()  # type: ignore[no-untyped-call]


def _loss(
    asked: Asked, question: int, patched: Tensor, base: Ints, source: Ints, logits: Float[Tensor, "n value"]
) -> Tensor:
    """Mean over what changes the answer, and over what should not, so that both count alike."""
    own = question // asked.templates
    cause = (patched == own).numpy()
    wanted = torch.from_numpy(np.where(cause, asked.value[source, own], asked.value[base, own]))
    each = cross_entropy(logits, wanted, reduction="none")
    weight = torch.from_numpy(np.where(cause, 1 / max(cause.sum(), 1), 1 / max((~cause).sum(), 1))).float()
    return (each * weight).sum()
