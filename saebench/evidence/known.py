"""An SAE held against a world whose features are known: its latents on samples, and which of them is which feature's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import sparse
from torch import Tensor

from saebench.record.score import Unscored
from saebench.saes.directions import random_directions
from saebench.saes.sae import LoadedSAE
from saebench.saes.sparsity import sides, stacked, to_sparse
from saebench.toy.sampling import Sample
from saebench.toy.structure import NONE, Structure, structure
from saebench.toy.worlds import World

FEWEST = 20
"""Samples on which a feature has to be on: with fewer nothing is said of it."""
BATCH = 2048


@dataclass(frozen=True)
class Reading:
    """Live latents, each on its positive side, and the features that they are matched with."""

    latents: sparse.csr_array
    """(sample, latent)"""
    directions: Float[Tensor, "latent d"]
    """Unit decoder directions."""
    truth: Structure

    @cached_property
    def cosines(self) -> Float[np.ndarray, "feature latent"]:
        """Of every feature's direction with every latent's."""
        return np.asarray((self.truth.directions @ self.directions.T).double().numpy())

    @cached_property
    def latent_of(self) -> Int[np.ndarray, " feature"]:
        """(feature,) the latent that stands for it, one to one so that cosines add up to the most; `NONE` where there is none."""
        from scipy.optimize import linear_sum_assignment

        feature, latent = linear_sum_assignment(self.cosines, maximize=True)
        found = np.full(len(self.cosines), NONE)
        found[feature] = latent
        return found

    @cached_property
    def cosine(self) -> Float[np.ndarray, " feature"]:
        """(feature,) cosine with its own latent; 0 where it has none."""
        rows = np.arange(len(self.latent_of))
        return np.where(self.latent_of >= 0, self.cosines[rows, self.latent_of], 0.0)

    @cached_property
    def own(self) -> sparse.csc_array:
        """(sample, feature) activation of each feature's own latent."""
        matched = self.latent_of >= 0
        columns = np.flatnonzero(matched)
        picked = sparse.coo_array(self.latents.tocsc()[:, self.latent_of[matched]])
        shape = (self.latents.shape[0], len(matched))
        return sparse.csc_array(sparse.coo_array((picked.data, (picked.row, columns[picked.col])), shape=shape))

    @cached_property
    def said(self) -> sparse.csc_array:
        """(sample, feature) 1 where a feature's own latent is active."""
        return sparse.csc_array((self.own != 0).astype(np.float64))

    @cached_property
    def nearest(self) -> tuple[Int[np.ndarray, " latent"], Float[np.ndarray, " latent"]]:
        """(latent,) the feature whose direction is nearest, and the cosine with it."""
        return self.cosines.argmax(axis=0), self.cosines.max(axis=0)


@dataclass(frozen=True)
class Known:
    """An SAE on samples of a world, beside random directions that are as many and as sparse."""

    world: World
    truth: Structure
    features: sparse.csc_array
    """(sample, feature) how much each feature is on."""
    usable: Bool[np.ndarray, " feature"]
    """Features that are on at least `FEWEST` times."""
    sae: Reading
    random: Reading
    x: Float[Tensor, "sample d"]
    """Activations minus the decoder's bias."""

    @cached_property
    def on(self) -> sparse.csc_array:
        """(sample, feature) 1 where a feature is on."""
        return sparse.csc_array((self.features != 0).astype(np.float64))

    @cached_property
    def alone(self) -> sparse.csc_array:
        """(sample, feature) 1 where a feature is on, and no child of it is."""
        up = self.truth.parent
        child = np.flatnonzero(up >= 0)
        lines = sparse.csr_array((np.ones(len(child)), (child, up[child])), shape=(len(up), len(up)))
        with_child = sparse.csc_array((self.on @ lines) > 0).astype(np.float64)
        return sparse.csc_array(self.on - self.on.multiply(with_child))

    def block(self, name: str) -> Bool[np.ndarray, " feature"]:
        """(feature,) which features are of a block of that name. Raises Unscored where the world has no such block."""
        names = [block.name for block in self.world.blocks]
        if name not in names:
            raise Unscored(f"the world {self.world.name} has no such features")
        return np.asarray(self.truth.block == names.index(name))


def known(sae: LoadedSAE, world: World, sample: Sample) -> Known:
    """Read an SAE on samples of a world.

    Raises Unscored for one of another width, for one without live latents, and for one that reconstructs no better than
    the mean does: whatever its directions are, its latents do not stand for them.
    """
    if sae.spec.d_in not in (None, world.dimensions):
        raise Unscored(f"the SAE reads {sae.spec.d_in} dimensions, {world.name} has {world.dimensions}", broken=True)
    truth, (latents, fvu) = structure(world), _encoded(sae, sample.x)
    live = np.flatnonzero(np.bincount(latents.indices, minlength=latents.shape[1]))
    if not len(live):
        raise Unscored("no latent is ever active")
    if fvu >= 1:
        raise Unscored(f"the SAE has an FVU of {fvu:.2f}: what its latents say is not what its directions are")
    directions, _ = sae.directions(latents.shape[1])
    side = sides(latents)
    own = sparse.csr_array(latents.tocsc()[:, live].multiply(side[live]).tocsr())
    turned = directions[torch.from_numpy(live)] * torch.from_numpy(side[live])[:, None]
    features = sparse.csc_array(sample.features)
    usable = np.diff(features.indptr) >= FEWEST
    bias = sae.decode(torch.zeros(1, latents.shape[1], device=sae.device)).float().cpu()
    reading, random = Reading(own, turned, truth), _random(own, sample.x, truth)
    return Known(world, truth, features, usable, reading, random, sample.x - bias)


def _batches(x: Tensor) -> Iterator[Tensor]:
    return (x[start : start + BATCH] for start in range(0, len(x), BATCH))


def _encoded(sae: LoadedSAE, x: Tensor) -> tuple[sparse.csr_array, float]:
    """Latents (sample, latent), and the fraction of variance unexplained."""
    parts, error = list[sparse.csr_array](), 0.0
    for part in _batches(x):
        at = part.to(sae.device)
        latents = sae.encode(at)
        error += float((at - sae.decode(latents, at)).double().square().sum())
        parts.append(to_sparse(latents))
    return stacked(parts), error / float((x - x.mean(0)).double().square().sum())


def _random(own: sparse.csr_array, x: Tensor, truth: Structure) -> Reading:
    """Random directions, as many as there are live latents, and on as often."""
    share = own.nnz / own.shape[0] / own.shape[1]
    made = random_directions(x, own.shape[1], min(share, 1.0), "known_truth.random")
    return Reading(stacked([to_sparse(made.encode(part)) for part in _batches(x)]), made.directions, truth)
