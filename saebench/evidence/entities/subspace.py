"""The dense method: for each attribute a subspace of the activation, trained to carry it and nothing else."""

import torch
from jaxtyping import Float
from torch import Tensor

from saebench.evidence.entities.asked import Asked
from saebench.evidence.entities.training import train
from saebench.stats.statistics import Ints

RATE = 0.01
"""Of Adam, for entries of bases that are orthonormal when training begins."""


def trained(
    asked: Asked, start: Float[Tensor, "attribute d d"], rank: int, steps: int
) -> Float[Tensor, "attribute d d"]:  # fmt: skip
    """Projections onto what multi-task distributed alignment search finds (Huang et al. 2024, arXiv 2402.17700).

    For each attribute a subspace of `rank` dimensions, in which the source's activation replaces the base's; all of
    them are trained together, by bases that are made orthonormal at every step. They begin with the leading
    directions of maps, which saves most of the steps.
    """
    symmetric = (start + start.mT) / 2
    leading = torch.linalg.eigh(symmetric)[1][:, :, -rank:]
    basis = leading.clone().requires_grad_()

    def change(_: float, question: int, patched: Tensor, base: Ints, source: Ints) -> Tensor:
        x = asked.target[question]
        q: Tensor = torch.linalg.qr(basis)[0][patched]
        moved: Tensor = (x[source] - x[base]) @ q @ q.mT
        return x[base] + moved

    train(asked, basis, change, steps, RATE, "entities.subspace")
    q: Tensor = torch.linalg.qr(basis.detach())[0]
    found: Tensor = q @ q.mT
    return found
