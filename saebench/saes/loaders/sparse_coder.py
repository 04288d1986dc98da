"""Objects of EleutherAI's `sparsify`, which encode to the largest latents and their indices."""

from typing import Any

import torch
from torch import Tensor


def is_sparse_coder(source: Any) -> bool:
    """By name, since the library need not be installed."""
    return any(kind.__name__ == "SparseCoder" for kind in type(source).__mro__)


class Dense:
    """A `SparseCoder` whose latents are written out; what its skip connection adds does not go through them."""

    def __init__(self, coder: Any) -> None:
        self.coder = coder

    def encode(self, x: Tensor) -> Tensor:
        found = self.coder.encode(x)
        latents = torch.zeros(*x.shape[:-1], len(self.coder.W_dec), dtype=found.top_acts.dtype, device=x.device)
        return latents.scatter(-1, found.top_indices, found.top_acts)

    def decode(self, latents: Tensor) -> Tensor:
        made: Tensor = latents @ self.coder.W_dec.to(latents) + self.coder.b_dec.to(latents)
        return made

    def restore(self, y: Tensor, x: Tensor) -> Tensor:
        skip = getattr(self.coder, "W_skip", None)
        return y if skip is None else y + x.to(y) @ skip.mT.to(y)
