"""Decoder directions that are compositions as planted, taken apart by meta-SAEs in a second or less."""

from functools import cache

import numpy as np
import torch
from torch import Tensor

from saebench.evidence.meta_sae import MetaStructure
from saebench.evidence.unit_rows import UnitRows, random_rows
from saebench.making.meta_structure import meta_structure

D, ATOMS, ROWS, STEPS = 64, 32, 256, 200


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def normed(rows: Tensor) -> Tensor:
    return torch.nn.functional.normalize(rows, dim=1)


def orthonormal(count: int, d: int, seed: int = 0) -> Tensor:
    return torch.linalg.qr(drawn(d, d, seed=seed)).Q[:count]


def composed(parts: int, private: float = 0.0) -> Tensor:
    """(row, d) unit sums of a few of the same atoms, and of something that no other row has."""
    rng = np.random.default_rng(1)
    weights = torch.zeros(ROWS, ATOMS)
    for row in weights:
        row[torch.from_numpy(rng.choice(ATOMS, parts, replace=False))] = 1.0
    return normed(normed(weights @ orthonormal(ATOMS, D)) + private * normed(drawn(ROWS, D, seed=2)))


def unit(rows: Tensor) -> UnitRows:
    return UnitRows(np.arange(len(rows)), rows, torch.ones(len(rows)), random_rows(rows), len(rows))


def taken(rows: Tensor, steps: int = STEPS) -> MetaStructure:
    return meta_structure(unit(rows), steps)


@cache
def of_sums(parts: int, private: float = 0.0) -> MetaStructure:
    return taken(composed(parts, private))
