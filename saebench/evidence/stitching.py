"""Latents of one SAE beside another of the same place: which the other lacks, and what they would add to it.

After Leask et al. 2025 (arXiv 2502.04878). Decoding is affine, so that inserting a latent needs no further pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from scipy import sparse
from torch import Tensor

from saebench.evidence.unit_rows import UnitRows
from saebench.record.score import Unscored
from saebench.saes.sae import LoadedSAE
from saebench.saes.sparsity import sides, stacked, to_sparse
from saebench.subject.activations import Activations, own_positions

if TYPE_CHECKING:
    from saebench.evidence.trace import Encoded
    from saebench.stats.statistics import Floats

CHUNK = 512


@dataclass(frozen=True)
class Stitched:
    """What each of an SAE's latents is to its partner."""

    partner: str
    unit: UnitRows
    cosine: Float[np.ndarray, " row"]
    """Largest cosine of a latent's direction with one of the partner's."""
    random_cosine: Float[np.ndarray, " row"]
    """The same of random rows."""
    change: Float[np.ndarray, " row"]
    """What inserting the latent adds to the partner's squared error, over all tokens."""
    random_change: Float[np.ndarray, " row"]
    """The same with a random row in place of the latent's direction."""
    written: Float[np.ndarray, " row"]
    """Squared norm of what the latent writes, over all tokens."""


def stitch(unit: UnitRows, encoded: Encoded, partner: LoadedSAE, activations: Activations, inside: int) -> Stitched:
    """Read the partner once on the same activations, at positions 1 to `inside` - 1.

    Raises Unscored for an SAE whose reading of a token scales what it writes there.
    """
    if encoded.latents is None:
        raise Unscored("the latents are too dense to be kept")
    scale = unit.scale.numpy()
    written = sparse.csr_array(encoded.latents.tocsc()[:, unit.latents].multiply(scale).tocsr())
    along = torch.zeros_like(unit.rows)
    parts, start = [], 0
    for latents, error in _errors(partner, activations, inside):
        own = written[start : start + len(error)]
        along += torch.from_numpy(own.T @ error.numpy())
        parts.append(latents)
        start += len(error)
    rows = _live(partner, stacked(parts))
    square = np.asarray(written.multiply(written).sum(axis=0)).ravel().astype(np.float64)
    change, random_change = (_change(along, each, square) for each in (unit.rows, unit.random))
    cosine, random_cosine = (_nearest(each, rows) for each in (unit.rows, unit.random))
    return Stitched(partner.spec.name, unit, cosine, random_cosine, change, random_change, square)


def _errors(partner: LoadedSAE, activations: Activations, inside: int) -> Iterator[tuple[sparse.csr_array, Tensor]]:
    """Latents (token, latent) of the partner, and what its reconstruction lacks (token, d), batch by batch."""
    counted = own_positions(activations.length - 1, activations.residual.shape[1])[:, 1:inside]
    residual, target = (each[:, 1:inside] for each in (activations.residual, activations.target))

    def batch(at: slice) -> tuple[sparse.csr_array, Tensor]:
        x, wanted = (each[at][counted[at]] for each in (residual, target))
        latents = partner.encode(x.to(partner.device))
        made = partner.decode(latents, x.to(partner.device)).float().cpu()
        return to_sparse(latents), wanted.cpu() - made

    yield from activations.subject.batch.over(len(counted), batch)


def _live(partner: LoadedSAE, latents: sparse.csr_array) -> Tensor:
    """(row, d) unit directions of the partner's latents that are active, on their sides."""
    live = np.flatnonzero(np.bincount(latents.indices, minlength=latents.shape[1]))
    if not len(live):
        raise Unscored(f"no latent of {partner.spec.name} is ever active")
    rows, _ = partner.directions(latents.shape[1])
    return rows[torch.from_numpy(live)] * torch.from_numpy(sides(latents)[live])[:, None]


def _change(along: Tensor, rows: Tensor, square: Floats) -> Floats:
    """(row,) ||e - zd||² - ||e||², summed over tokens, of errors e, activations z and a direction d."""
    return np.asarray(square - 2 * (along.double() * rows.double()).sum(1).numpy())


def _nearest(rows: Tensor, others: Tensor) -> Floats:
    parts = [(rows[start : start + CHUNK] @ others.T).amax(1) for start in range(0, len(rows), CHUNK)]
    return np.asarray(torch.cat(parts).double().numpy())
