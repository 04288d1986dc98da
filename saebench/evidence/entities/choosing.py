"""Which latents carry an attribute: ranked on training entities, and as many as score best on validation entities."""

from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from saebench.evidence.entities.asked import Asked, Part
from saebench.evidence.entities.gradients import Gradients
from saebench.evidence.entities.latents import Latents
from saebench.evidence.entities.patching import by_attribute, scores, tally
from saebench.stats.statistics import Bools, Floats, Ints, seed_of

COUNTS = (2, 8, 32, 128, 512)
"""How many latents are patched."""
SHARED = 10
"""Pairs of training entities with one value, without which no probe can be fitted."""
LEVELS = 10
"""Of firing: random latents are drawn in the levels of the chosen ones."""


def by_gradient(latents: Latents, found: Gradients) -> Float[np.ndarray, "attribute latent"]:
    """A latent's share of what changes the attribute's answers, less its mean share of what changes the others'."""
    return _above_others(latents.shares(found))


def by_probe(latents: Latents) -> Float[np.ndarray, "attribute latent"]:
    """A latent's share of what tells the attribute's values apart, less its mean share of what tells the others' apart.

    What a latent tells is the variance of what it writes between training entities of different values: the mean product
    over pairs of entities that share a value, each minus the latent's mean (the variance component of an analysis of
    variance), at all sites of the attribute's own sentences, times the squared norm of its direction.
    """
    _, norms = latents.sae.directions(latents.d_sae)
    attributes = range(len(latents.asked.facts.attributes))
    between = np.stack([_between(latents, attribute) for attribute in attributes]) * norms.double().numpy() ** 2
    between = np.maximum(between, 0.0)
    return _above_others(between / np.maximum(between.sum(axis=1, keepdims=True), 1e-30))


def _above_others(shares: Floats) -> Floats:
    """(attribute, latent) minus the mean over the other attributes."""
    others = (shares.sum(axis=0) - shares) / (len(shares) - 1)
    found: Floats = shares - others
    return found


def _between(latents: Latents, attribute: int) -> Floats:
    asked = latents.asked
    train = np.flatnonzero(asked.part == Part.TRAIN)
    _, group = np.unique(asked.value[train, attribute], return_inverse=True)
    pairs = (np.bincount(group) * (np.bincount(group) - 1.0)).sum()
    member = torch.from_numpy(np.eye(group.max() + 1)[group]).float()
    total: Floats = np.zeros(latents.d_sae)
    for template in range(asked.templates):
        question = asked.number(attribute, template)
        sites = asked.questions[question].sites
        for site in range(sites):
            f = torch.from_numpy(latents.rows[question][train * sites + site].toarray())
            f = f - f.mean(0)
            total += ((member.T @ f).square().sum(0) - f.square().sum(0)).double().numpy()
    return np.asarray(total / max(pairs, 1.0))


def best_counted(
    latents: Latents, rank: Float[np.ndarray, "attribute latent"], most: int
) -> Bool[Tensor, "attribute latent"]:
    """(attribute, latent) the first of each attribute's ranking, as many as score best on validation pairs.

    Only what ranks above 0 is ever chosen. Of numbers that do equally well, the least.
    """
    asked, pairs = latents.asked, latents.asked.pairs(Part.VALIDATION, most)
    order = np.argsort(-rank, axis=1, kind="stable")
    place = np.argsort(order, axis=1, kind="stable")
    masks = [torch.from_numpy((place < count) & (rank > 0)) for count in COUNTS]
    sums = tally(asked, partial(latents.patched, torch.stack(masks), ("kept",)), *pairs)
    reached = np.stack([by_attribute(asked, scores(each)) for each in sums])
    return torch.stack([masks[at][attribute] for attribute, at in enumerate(reached.argmax(axis=0).tolist())])


def random_alike(latents: Latents, chosen: Bool[Tensor, "attribute latent"]) -> Bool[Tensor, "attribute latent"]:
    """As many other latents for each attribute, which are active about as often at training entities.

    Where those of a level do not suffice, any others that are active make up for them, as far as there are any.
    """
    rng, firing = np.random.default_rng(seed_of("entities.random_alike")), latents.firing
    alive = rng.permutation(np.flatnonzero(firing))  # equals are in no order
    level = np.zeros(latents.d_sae, dtype=np.intp)
    level[alive[np.argsort(firing[alive], kind="stable")]] = np.arange(len(alive)) * LEVELS // max(len(alive), 1)
    return torch.stack([torch.from_numpy(_alike(own.numpy(), alive, level)) for own in chosen])


def _alike(chosen: Bools, alive: Ints, level: Ints) -> Bools:
    """(latent,) of the active ones, in their order, as many of each level as are chosen there, and then any."""
    wanted, left = np.bincount(level[chosen], minlength=LEVELS), alive[~chosen[alive]]
    left = left[np.argsort(level[left], kind="stable")]
    counts = np.bincount(level[left], minlength=LEVELS)
    within = np.arange(len(left)) - np.repeat(np.cumsum(counts) - counts, counts)
    first = np.argsort(within >= wanted[level[left]], kind="stable")
    found = np.zeros(len(chosen), dtype=bool)
    found[left[first[: chosen.sum()]]] = True
    return found


def repeats(asked: Asked) -> Bool[np.ndarray, " attribute"]:
    """(attribute,) whether `SHARED` pairs of training entities, or more, share a value, which a probe learns from."""
    values = asked.value[asked.part == Part.TRAIN]
    counts = [np.bincount(column) for column in values.T]
    return np.array([(count * (count - 1) // 2).sum() >= SHARED for count in counts])
