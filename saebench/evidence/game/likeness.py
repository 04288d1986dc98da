"""Fakes that are like their feature in all that is not at issue: matching by caliper, and the balance that results."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial import KDTree
from torch import Tensor

from saebench.evidence.game.fakes import Cloud
from saebench.stats.statistics import Floats

CALIPER = 0.2
"""Largest difference of a pair, in standard deviations of the real features."""
IMBALANCE = 0.1
"""Largest difference of means, in the same unit, of a balanced rung."""
NEIGHBOURS = 64
"""Fakes that are looked at for each feature before it goes without."""
NAMES = ("log variance", "cosine to the mean", "cosine to the first component", "log effect on logits")


@dataclass(frozen=True, eq=False)
class Traits:
    """What a direction is like, without a look at what the model does with it, and the scale on which that counts."""

    cloud: Cloud
    unembedding: Float[Tensor, "d d"]
    """Gram matrix of the centred unembedding: its quadratic form is the squared effect on the logits."""

    def of(self, directions: Float[Tensor, "n d"]) -> Float[np.ndarray, "n trait"]:
        """(n, trait) of directions (n, d): those of `NAMES`."""
        unit = directions / directions.norm(dim=1, keepdim=True).clamp(min=1e-30)
        mean = self.cloud.mean / self.cloud.mean.norm().clamp(min=1e-30)
        columns = [
            _log_quadratic(unit, self.cloud.covariance), unit @ mean, unit @ self.cloud.first_component,
            0.5 * _log_quadratic(unit, self.unembedding),
        ]  # fmt: skip
        found: Floats = torch.stack(columns, dim=1).double().numpy()
        return found


def _log_quadratic(unit: Tensor, matrix: Tensor) -> Tensor:
    return ((unit @ matrix) * unit).sum(dim=1).clamp(min=1e-12).log()


def scale_of(real: Float[np.ndarray, "feature trait"]) -> Float[np.ndarray, " trait"]:
    """(trait,) standard deviations of the real features; 1 for a trait that does not vary."""
    spread = real.std(axis=0) if len(real) else np.ones(real.shape[1])
    return np.where(spread > 1e-5, spread, 1.0)


def match(
    real: Float[np.ndarray, "real trait"],
    fake: Float[np.ndarray, "fake trait"],
    scale: Float[np.ndarray, " trait"],
    most: int,
    caliper: float = CALIPER,
) -> Int[np.ndarray, "pair 2"]:
    """(pair, 2) indices of up to `most` real rows and a fake row each, in the order of the real ones.

    Every trait of a pair differs by at most `caliper` scales; no fake is taken twice, and the nearest free one is
    taken. An infinite caliper pairs rows as they come.
    """
    if not len(real) or not len(fake):
        return np.zeros((0, 2), dtype=np.intp)
    if np.isinf(caliper):
        return np.repeat(np.arange(min(len(real), len(fake), most))[:, None], 2, axis=1)
    tree = KDTree(fake / scale)
    distance, index = tree.query(
        real / scale, k=min(max(NEIGHBOURS, most), len(fake)), p=np.inf, distance_upper_bound=caliper * (1 + 1e-12)
    )
    distance, index = (np.asarray(found).reshape(len(real), -1) for found in (distance, index))
    taken, pairs = set[int](), []
    for row in np.flatnonzero(np.isfinite(distance).any(axis=1)).tolist():
        near = index[row][np.isfinite(distance[row])].tolist()
        free = [i for i in near if i not in taken]
        if free:
            taken.add(free[0])
            pairs.append((row, free[0]))
        if len(pairs) == most:
            break
    return np.array(pairs, dtype=np.intp).reshape(-1, 2)


def balance(
    real: Float[np.ndarray, "real trait"],
    fake: Float[np.ndarray, "fake trait"],
    scale: Float[np.ndarray, " trait"],
    names: tuple[str, ...] = NAMES,
) -> dict[str, float]:
    """Standardised mean difference of every trait, fakes minus real ones."""
    gap = (fake.mean(axis=0) - real.mean(axis=0)) / scale
    return dict(zip(names, gap.tolist(), strict=True))
