"""Latents as sparse matrices, most of which are zero, and the side that each latent is on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

if TYPE_CHECKING:
    from torch import Tensor

MOST_ACTIVE = 400_000_000
"""Entries of the largest sparse matrix that is kept, about 3 GB."""
CANCELLED = 1e-6
"""Share of a latent's summed magnitudes up to which its sum is nothing but rounding."""


def to_sparse(latents: Tensor) -> sparse.csr_array:
    """CSR matrix of a dense tensor (row, latent)."""
    rows, columns = (latents != 0).nonzero(as_tuple=True)
    data = latents[rows, columns].float().cpu().numpy()
    ends = rows.bincount(minlength=len(latents)).cumsum(0).cpu().numpy()
    pointers = np.concatenate([[0], ends]).astype(np.int64)
    return sparse.csr_array((data, columns.int().cpu().numpy(), pointers), shape=tuple(latents.shape))


def stacked(parts: list[sparse.csr_array]) -> sparse.csr_array:
    return sparse.csr_array(sparse.vstack(parts, format="csr"))


def sides(*parts: sparse.csr_array) -> NDArray[np.float32]:
    """(latent,) 1 or -1: what turns each latent (row, latent) to the side on which its activations add up to more than 0.

    An SAE is the same one with a latent and its decoder row negated, so that nothing may depend on how it writes them.
    Where activations of both signs cancel, the first of them is on the positive side. A latent that is never active is
    on no side of its own, and is turned as most others are.
    """
    d_sae = parts[0].shape[1]
    if all(part.data.min(initial=0) >= 0 for part in parts):
        return np.ones(d_sae, dtype=np.float32)
    latents = stacked(list(parts))
    at, data = latents.indices, latents.data
    total, size = (np.bincount(at, weights=each, minlength=d_sae) for each in (data, np.abs(data)))
    cancelled = np.flatnonzero(np.abs(total) <= CANCELLED * size)
    entries = np.flatnonzero(np.isin(at, cancelled) & (data != 0))
    found, first = np.unique(at[entries], return_index=True)
    total[cancelled], total[found] = 0.0, data[entries[first]]
    side = np.sign(total)
    return np.where(side == 0, -1.0 if side.sum() < 0 else 1.0, side).astype(np.float32)


def turned(latents: sparse.csr_array) -> sparse.csr_array:
    """The same latents, each on its positive side."""
    data = latents.data * sides(latents)[latents.indices]
    return sparse.csr_array((data, latents.indices, latents.indptr), shape=latents.shape)
