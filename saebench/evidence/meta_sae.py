"""A meta-SAE: an SAE whose inputs are the unit decoder directions of another one (Leask et al. 2025, arXiv 2502.04878)."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from saebench.evidence.unit_rows import UnitRows


@dataclass(frozen=True)
class MetaSAE:
    """A row is made of the `k` meta-latents at most that read most of it, whatever other rows there are."""

    encoder: Float[Tensor, "meta d"]
    decoder: Float[Tensor, "meta d"]
    """Unit directions."""
    bias: Float[Tensor, " d"]
    """Of input and output: what all rows have in common."""
    k: int

    def codes(self, rows: Float[Tensor, "row d"]) -> Float[Tensor, "row meta"]:
        """How much of each meta-latent rows are made of, never less than 0."""
        read = ((rows - self.bias) @ self.encoder.T).clamp(min=0)
        kept = read.topk(min(self.k, read.shape[1]), dim=1)
        return torch.zeros_like(read).scatter(1, kept.indices, kept.values)

    def explained(self, rows: Float[Tensor, "row d"]) -> Float[np.ndarray, " row"]:
        """(row,) squared distance from the bias that is explained; below 0 where it is made larger."""
        error = (rows - self.bias - self.codes(rows) @ self.decoder).square().sum(1)
        return np.asarray(((rows - self.bias).square().sum(1) - error).double().numpy())

    def single(self, rows: Float[Tensor, "row d"]) -> Float[np.ndarray, " row"]:
        """(row,) the same squared distance, as far as the one best meta-latent explains it, at its best coefficient."""
        best = ((rows - self.bias) @ self.decoder.T).clamp(min=0).square().amax(1)
        return np.asarray(best.double().numpy())

    def shares(self, rows: Float[Tensor, "row d"]) -> Float[np.ndarray, "row meta"]:
        """(row, meta) share of the sum of a row's codes; 0 where a row has none."""
        codes = self.codes(rows).double()
        return np.asarray((codes / codes.sum(1, keepdim=True).clamp(min=1e-12)).numpy())


@dataclass(frozen=True)
class Taken:
    """Rows taken apart: by meta-SAEs of two seeds, and by one that has not seen a fifth of them."""

    rows: Float[Tensor, "row d"]
    first: MetaSAE
    second: MetaSAE
    unseen: Bool[np.ndarray, " row"]
    """Rows that `blind` was not trained on."""
    blind: MetaSAE


@dataclass(frozen=True)
class MetaStructure:
    """An SAE's decoder directions, taken apart by meta-SAEs, and random rows beside them."""

    unit: UnitRows
    own: Taken
    random: Taken
    """Of rows drawn with the same mean and covariance, by meta-SAEs that are trained alike."""
