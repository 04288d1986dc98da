"""An SAE's latents at entities, and activations in which some of them are those at another entity."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import sparse
from torch import Tensor

from saebench.evidence.entities.asked import Asked, Part
from saebench.evidence.entities.gradients import Gradients
from saebench.saes.sae import LoadedSAE
from saebench.saes.sparsity import stacked, to_sparse
from saebench.stats.statistics import Floats, Ints

Error = Literal["kept", "dropped"]
ENTRIES = 1 << 22
"""Latents, of all rows together, that are dense at a time."""


@dataclass(frozen=True, eq=False)
class Latents:
    """What an SAE reads at the names of one kind of entity."""

    asked: Asked
    sae: LoadedSAE = field(repr=False)
    rows: tuple[sparse.csr_array, ...]
    """Per question, (entity x site, latent)."""

    @property
    def d_sae(self) -> int:
        return int(self.rows[0].shape[1])

    @property
    def batch(self) -> int:
        """Rows that are dense at a time."""
        return max(1, ENTRIES // self.d_sae)

    def dense(self, question: int, entities: Int[np.ndarray, " n"]) -> Float[Tensor, "row latent"]:
        """Latents at the sites of entities, in turn."""
        sites = self.asked.questions[question].sites
        at = (entities[:, None] * sites + np.arange(sites)).ravel()
        return torch.from_numpy(self.rows[question][at].toarray()).to(self.sae.device)

    def patched(
        self, masks: Bool[Tensor, "mask attribute latent"], errors: Sequence[Error], question: int,
        patched: Int[np.ndarray, " n"], base: Int[np.ndarray, " n"], source: Int[np.ndarray, " n"],
    ) -> Float[Tensor, "way n site d_out"]:  # fmt: skip
        """Activations of bases with the chosen latents of the patched attributes as they are at the sources.

        Ways are masks times errors: what the SAE does not reconstruct is `kept` as it is at the base, or `dropped`.
        """
        sites = self.asked.questions[question].sites
        each = max(1, self.batch // sites)
        parts = [slice(start, start + each) for start in range(0, len(base), each)]
        masks = masks.to(self.sae.device)
        made = [self._patched(masks, errors, question, patched[at], base[at], source[at]) for at in parts]
        if not made:
            return self.asked.target[question][base].expand(len(masks) * len(errors), -1, -1, -1)
        return torch.cat(made, dim=1)

    def _patched(
        self, masks: Tensor, errors: Sequence[Error], question: int, patched: Ints, base: Ints, source: Ints
    ) -> Tensor:
        own, other = self.dense(question, base), self.dense(question, source)
        target, rebuilt = self.asked.target[question][base], self.rebuilt[question][base].flatten(0, 1)
        x = self.asked.x[question][base].flatten(0, 1)
        of_row, differs = np.repeat(patched, target.shape[1]), own != other
        ways = []
        for mask in masks:
            moved = mask[of_row] & differs
            rows = moved.any(dim=1)
            new = torch.where(moved[rows], other[rows], own[rows])
            at = rows.cpu()
            # What is not moved is not decoded again: it is exactly what it was.
            change = torch.zeros_like(rebuilt)
            change[at] = self.sae.decode(new, x[at].to(own.device)).float().cpu() - rebuilt[at]
            ways += [
                ((target if error == "kept" else rebuilt.view_as(target)) + change.view_as(target)) for error in errors
            ]
        return torch.stack(ways)

    @cached_property
    def rebuilt(self) -> tuple[Float[Tensor, "entity _ d_out"], ...]:
        """Per question, what the SAE reconstructs."""
        return tuple(map(self._rebuilt, range(len(self.rows))))

    def _rebuilt(self, question: int) -> Tensor:
        sites, every = self.asked.questions[question].sites, np.arange(len(self.asked.names))
        parts = [
            every[at : at + max(1, self.batch // sites)] for at in range(0, len(every), max(1, self.batch // sites))
        ]
        made = [
            self.sae.decode(self.dense(question, part), self.asked.x[question][part].flatten(0, 1).to(self.sae.device))
            for part in parts
        ]
        return torch.cat(made).float().cpu().view_as(self.asked.target[question])

    @cached_property
    def firing(self) -> Int[np.ndarray, " latent"]:
        """Number of sites of training entities, over all questions, at which a latent is active."""
        train = self.asked.part == Part.TRAIN
        each = zip(self.rows, self.asked.questions, strict=True)
        active = [rows[np.repeat(train, question.sites)].indices for rows, question in each]
        return np.bincount(np.concatenate(active), minlength=self.d_sae)

    def shares(self, found: Gradients) -> Float[np.ndarray, "attribute latent"]:
        """Of what answers to an attribute's questions change from base to source, to first order, each latent's share.

        The effect of a latent is its difference times what it writes, times the gradient (attribution patching, Syed et
        al. 2023, arXiv 2310.10348), summed over the training pairs of all templates.
        """
        directions, norms = self.sae.directions(self.d_sae)
        written = directions * norms[:, None]
        return np.stack(
            [self._share(found, written, attribute) for attribute in range(len(self.asked.facts.attributes))]
        )

    def _share(self, found: Gradients, written: Tensor, attribute: int) -> Floats:
        effect, whole = torch.zeros(self.d_sae, dtype=torch.float64), 0.0
        for template in range(self.asked.templates):
            question = self.asked.number(attribute, template)
            base, source, slope = found.base[question], found.source[question], found.slope[question]
            x = self.asked.target[question]
            whole += float(((x[source] - x[base]) * slope).sum())
            each = max(1, self.batch // self.asked.questions[question].sites)
            for start in range(0, len(base), each):
                at = slice(start, start + each)
                moved = (self.dense(question, source[at]) - self.dense(question, base[at])).cpu()
                effect += (moved * (slope[at].flatten(0, 1) @ written.T)).sum(0).double()
        return effect.numpy() / whole if whole > 0 else np.zeros(self.d_sae)


def read_latents(sae: LoadedSAE, asked: Asked) -> Latents:
    """Encode every entity at every question once."""
    return Latents(asked, sae, tuple(_encoded(sae, x) for x in asked.x))


def _encoded(sae: LoadedSAE, x: Tensor) -> sparse.csr_array:
    rows = x.flatten(0, 1)
    first = to_sparse(sae.encode(rows[:1].to(sae.device)))
    each = max(1, ENTRIES // first.shape[1])
    return stacked([to_sparse(sae.encode(rows[at : at + each].to(sae.device))) for at in range(0, len(rows), each)])
