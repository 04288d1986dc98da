"""Latents of parents and of their children, and how much of each parent its child absorbed: where that is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from saebench.evidence.words.children import by_word, find_children
from saebench.metrics.absorption import judged
from saebench.metrics.known_structure import COMPETENT, means
from saebench.stats.statistics import Bools, Floats

if TYPE_CHECKING:
    from scipy import sparse

    from saebench.evidence.known import Known
    from saebench.evidence.words.detectors import Detectors
    from saebench.evidence.words.study import Study

ABSORBED, FREE = 0.5, 0.25
"""A child absorbed its parent from the one on, and did not up to the other; what is between is neither."""


@dataclass(frozen=True)
class Kin:
    """Pairs of a latent that stands for something, and of one that stands for a part of that."""

    parent: Float[Tensor, "pair d"]
    """Unit decoder direction of the parent's latent."""
    child: Float[Tensor, "pair d"]
    absorbed: Float[np.ndarray, " pair"]
    """1 - (the parent's latent where the child is on) / (it elsewhere): 0 = nothing is absorbed, 1 = all."""
    name: Shaped[np.ndarray, " pair"]
    """Of the parent, in words or as a number."""

    @property
    def absorbing(self) -> Bool[np.ndarray, " pair"]:
        return np.asarray(self.absorbed >= ABSORBED)

    @property
    def free(self) -> Bool[np.ndarray, " pair"]:
        return np.asarray(self.absorbed <= FREE)


def of_known(known: Known) -> Kin:
    """Of a toy world, all pairs whose features have a latent of their own: cosine .5, and the parent's fires half the time."""
    child = np.flatnonzero((known.truth.parent >= 0) & known.usable)
    parent = known.truth.parent[child]
    fires = means(known, known.sae.said, known.on, parent, child)[1]
    with_child, alone = means(known, known.sae.own, known.features, parent, child)
    own = (known.sae.cosine[parent] >= COMPETENT) & (known.sae.cosine[child] >= COMPETENT) & known.usable[parent]
    counts = own & (np.nan_to_num(fires) >= COMPETENT) & np.isfinite(with_child)
    latent, rows = known.sae.latent_of, known.sae.directions
    child, parent = child[counts], parent[counts]
    absorbed = 1 - with_child[counts] / alone[counts]
    parents, children = (rows[torch.from_numpy(latent[each])] for each in (parent, child))
    return Kin(parents, children, absorbed, parent.astype(str))


def of_words(study: Study, detectors: Detectors) -> Kin:
    """Of a language model: the main latents of concepts that `absorption` judges, and their child latents.

    Raises Unscored where `absorption` does.
    """
    words, chosen = by_word(study), np.flatnonzero(judged(study, detectors))
    children = [find_children(study, detectors)[concept] for concept in chosen.tolist()]
    latent = np.concatenate([each.latents for each in children]).astype(np.intp)
    owner = np.repeat(np.arange(len(chosen)), [len(each.latents) for each in children])
    absorbed = np.concatenate([_absorbed(words.on, each.latents, each.main, each.others) for each in children])
    known = np.isfinite(absorbed)
    rows, main = study.decoder, detectors.main[chosen]
    of, names = owner[known], np.array(study.concepts)[chosen]
    parents, kids = (rows[torch.from_numpy(each.astype(np.intp))] for each in (main[of], latent[known]))
    return Kin(parents, kids, absorbed[known], names[of])


def _absorbed(
    on: sparse.csc_array, latents: Int[np.ndarray, " child"], main: Floats, others: Bools
) -> Float[np.ndarray, " child"]:
    """(child,) by the main latent's mean over the words where a child is on; NaN where there is nothing to compare."""
    at = on[:, latents]
    with np.errstate(divide="ignore", invalid="ignore"):
        found = 1 - np.asarray(at.T @ main) / np.asarray(at.sum(axis=0)).ravel() / main[others].mean()
    return np.asarray(found if others.any() else np.full(len(latents), np.nan))
