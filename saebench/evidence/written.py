"""Norms of what latents write, and how near to each other latents are in what they write and read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from saebench.record.score import Unscored
from saebench.saes.sparsity import sides
from saebench.stats.statistics import Ints, fixed_seed_of, seed_of

if TYPE_CHECKING:
    from saebench.evidence.trace import Encoded
    from saebench.saes.sae import LoadedSAE

MOST_ASKED = 1024
"""Latents whose nearest is looked for, among all."""
AT_ONCE = 256
CHUNK = 4096
FEWEST_RANDOM = 256
"""Random directions whose nearest is looked for."""


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest other direction of some latents that are alive, in an order that is theirs and not the SAE's."""

    latents: Int[np.ndarray, " row"]
    """Their numbers in the SAE."""
    cosine: Float[np.ndarray, " row"]
    """With the nearest direction of another latent that is alive."""
    every: float
    """The mean over all latents that have a direction, alive or dead, with all of these; NaN of fewer than two."""
    random: float
    """The mean over as many random directions as are alive, in all dimensions alike; NaN of fewer than two."""
    alive: int


@dataclass(frozen=True, eq=False)
class Written:
    """What latents write."""

    norms: Float[np.ndarray, " d_sae"]
    """Norm of what one unit of each latent adds to the reconstruction."""
    neighbours: Neighbours


def written(sae: LoadedSAE, encoded: Encoded) -> Written:
    """Decoder directions by their norms and neighbours. Raises Unscored where latents are too dense to be kept."""
    directions, norms = sae.directions(len(encoded.fired))
    return Written(norms.double().numpy(), neighbours(directions, encoded))


def read(sae: LoadedSAE, encoded: Encoded) -> Neighbours:
    """The same of encoder weights. Raises Unscored where the SAE has no `W_enc`."""
    weights = sae.encoder_weights(len(encoded.fired))
    return neighbours(torch.nn.functional.normalize(weights, dim=1), encoded)


def neighbours(rows: Float[Tensor, "latent d"], encoded: Encoded) -> Neighbours:
    """Of unit rows, or rows of zeros for latents without a direction, each turned to the side on which its latent is active."""
    if encoded.latents is None:
        raise Unscored("the latents are too dense to be kept, so that nothing tells on which side each is active")
    side, has = torch.from_numpy(sides(encoded.latents)), rows.any(dim=1)
    live = has & (encoded.fired > 0)
    asked, cosine = _asked(rows, side, live)
    every, count = _mean(cosine if torch.equal(live, has) else _asked(rows, side, has)[1]), int(live.sum())
    return Neighbours(asked, cosine, every, _random(count, rows.shape[1]), count)


def _asked(
    rows: Float[Tensor, "latent d"], side: Float[Tensor, " latent"], among: Bool[Tensor, " latent"]
) -> tuple[Ints, Float[np.ndarray, " asked"]]:
    """Which latents are asked, in an order along a fixed direction, and the cosine of each with the nearest other one."""
    along = np.random.default_rng(fixed_seed_of("neighbours.order")).standard_normal(rows.shape[1])
    place = torch.cat([part.double() @ torch.from_numpy(along) for part in torch.split(rows, CHUNK)]) * side
    found = among.nonzero()[:, 0]
    order = found[place[found].argsort(stable=True)].numpy()
    if len(order) < 2:
        return order[:0], np.empty(0)
    drawn = np.random.default_rng(seed_of("neighbours.asked")).permutation(len(order))[:MOST_ASKED]
    asked: Ints = order[np.sort(drawn)]
    parts = torch.split(torch.from_numpy(asked), AT_ONCE)
    return asked, torch.cat([_nearest(rows, side, part, among) for part in parts]).double().numpy()


def _nearest(
    rows: Float[Tensor, "latent d"], side: Float[Tensor, " latent"], asked: Int[Tensor, " asked"],
    among: Bool[Tensor, " latent"],
) -> Float[Tensor, " asked"]:  # fmt: skip
    cosines = (rows[asked] * side[asked, None]) @ rows.T * side
    cosines[:, ~among] = -1.0
    cosines[torch.arange(len(asked)), asked] = -1.0
    return cosines.amax(dim=1)


def _random(count: int, d: int) -> float:
    """Mean cosine of random directions with the nearest of all others of as many."""
    if count < 2:
        return float("nan")
    rng = np.random.default_rng(seed_of("neighbours.random"))
    asked = _directions(rng, min(count, FEWEST_RANDOM), d)
    sizes = [min(CHUNK, count - 1 - start) for start in range(0, count - 1, CHUNK)]
    return _mean(np.max([(asked @ _directions(rng, size, d).T).max(axis=1) for size in sizes], axis=0))


def _directions(rng: np.random.Generator, count: int, d: int) -> Float[np.ndarray, "row d"]:
    drawn = rng.standard_normal((count, d), dtype=np.float32)
    found: Float[np.ndarray, "row d"] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return found


def _mean(values: Float[np.ndarray, " row"]) -> float:
    return float(values.mean()) if len(values) else float("nan")
