"""Latents as sparse matrices: most of them are zero."""

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

MOST_ACTIVE = 400_000_000
"""Entries of the largest sparse matrix that is kept, about 3 GB."""


def to_sparse(latents: Tensor) -> sparse.csr_array:
    """CSR matrix of a dense tensor (row, latent)."""
    rows, columns = (latents != 0).nonzero(as_tuple=True)
    data = latents[rows, columns].float().cpu().numpy()
    ends = torch.bincount(rows, minlength=len(latents)).cumsum(0).cpu().numpy()
    pointers = np.concatenate([[0], ends]).astype(np.int64)
    return sparse.csr_array((data, columns.to(torch.int32).cpu().numpy(), pointers), shape=tuple(latents.shape))


def stacked(parts: list[sparse.csr_array]) -> sparse.csr_array:
    return sparse.csr_array(sparse.vstack(parts, format="csr"))
