"""Latents of random directions at words: they depend on an SAE by how many it has and how many are active, and by nothing else."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import sparse
from torch import Tensor

from saebench.saes.directions import Linear, random_directions
from saebench.saes.sparsity import stacked, to_sparse

BATCH = 1024
"""Rows per encoding; scores do not depend on it."""
MOST_KEPT = 100_000_000
"""Entries that are kept for the SAEs that follow, about 800 MB."""


@dataclass(eq=False)
class RandomLatents:
    """What random directions read of words, kept for all SAEs of so many latents.

    Of a sparser SAE they are among those of a denser one: the same directions, above a higher threshold.
    """

    x: Float[Tensor, "row d"]
    """Activations at the words."""
    d_sae: int
    _kept: sparse.csr_array | None = None
    _above: float = np.inf
    """Threshold that what is kept exceeds."""

    def active(self, share: float) -> tuple[sparse.csr_array, Linear]:
        """(row, d_sae) latents of which a `share` is active, and their directions."""
        drawn = random_directions(self.x, self.d_sae, share, "study.random_control")
        if self._kept is None or drawn.threshold < self._above:
            parts = [to_sparse(drawn.encode(self.x[at : at + BATCH])) for at in range(0, len(self.x), BATCH)]
            found = stacked(parts)
            if found.nnz > MOST_KEPT:
                return found, drawn
            self._kept, self._above = found, drawn.threshold
        return _above(self._kept, drawn.threshold), drawn


def _above(latents: sparse.csr_array, threshold: float) -> sparse.csr_array:
    """Entries that exceed a threshold."""
    data = np.where(latents.data > np.float32(threshold), latents.data, 0.0).astype(np.float32)
    found = sparse.csr_array((data, latents.indices.copy(), latents.indptr.copy()), shape=latents.shape)
    found.eliminate_zeros()
    return found
