"""The directions that an SAE writes along, as the rows of a table, and random ones that are spread as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.record.score import Unscored
from saebench.saes.sparsity import sides
from saebench.stats.statistics import Bools, Ints, fixed_seed_of, seed_of

if TYPE_CHECKING:
    from saebench.evidence.trace import Encoded
    from saebench.saes.sae import LoadedSAE

MOST_ROWS = 2048
"""Rows that are looked at, drawn from all; of wider SAEs a part."""
FEWEST_ROWS = 32
SAME = 1e-5
"""Largest difference in any coordinate between two rows that are one."""


@dataclass(frozen=True)
class UnitRows:
    """Decoder directions of latents that are alive, in an order that is theirs and not the SAE's."""

    latents: Int[np.ndarray, " row"]
    """Their numbers in the SAE."""
    rows: Float[Tensor, "row d"]
    """Unit vectors, each turned to the side on which its latent is active; no two of them the same."""
    scale: Float[Tensor, " row"]
    """What an activation is multiplied by along its row: the decoder's norm, with the sign of the side."""
    random: Float[Tensor, "row d"]
    """Unit vectors drawn with the mean and the covariance of the rows."""
    alive: int
    """Latents that are alive, all of them."""


def unit_rows(sae: LoadedSAE, encoded: Encoded) -> UnitRows:
    """Of copies of one direction there is one row. Raises Unscored where fewer than 32 latents are left."""
    latents, rows, scale = live_rows(sae, encoded)
    order, alive = _distinct(rows), len(rows)
    if len(order) < FEWEST_ROWS:
        raise Unscored(f"{len(order)} directions of latents that are ever active: fewer than {FEWEST_ROWS}")
    draw = np.random.default_rng(seed_of("unit_rows.chosen"))
    chosen = order[np.sort(draw.permutation(len(order))[:MOST_ROWS])]
    kept = rows[torch.from_numpy(chosen)]
    return UnitRows(latents[chosen], kept, scale[torch.from_numpy(chosen)], random_rows(kept), alive)


def live_rows(
    sae: LoadedSAE, encoded: Encoded
) -> tuple[Int[np.ndarray, " row"], Float[Tensor, "row d"], Float[Tensor, " row"]]:
    """Numbers, unit directions and scales of the latents that are active on the texts and write anything."""
    if encoded.latents is None:
        raise Unscored("the latents are too dense to be kept, so that nothing tells on which side each is active")
    directions, norms = sae.directions(len(encoded.fired))
    side = torch.from_numpy(sides(encoded.latents))
    found = np.flatnonzero(((encoded.fired > 0) & (norms > 0)).numpy())
    at = torch.from_numpy(found)
    return found, directions[at] * side[at, None], norms[at] * side[at]


def random_rows(rows: Float[Tensor, "row d"]) -> Float[Tensor, "row d"]:
    """As many unit vectors with the mean and the covariance of `rows`: a random rotation of the rows into one another.

    The covariance is theirs, and not one that was estimated of them, so that rows which are random themselves are no
    different from these, however few they are.
    """
    count, mean = len(rows), rows.double().mean(0)
    drawn = np.random.default_rng(seed_of("unit_rows.random")).standard_normal((count, count))
    rotation, upper = torch.linalg.qr(torch.from_numpy(drawn))
    # With the signs of the diagonal, it is one of all rotations alike.
    made = mean + (rotation * upper.diagonal().sign()) @ (rows.double() - mean)
    return torch.nn.functional.normalize(made, dim=1).to(rows.dtype)


def _distinct(rows: Tensor) -> Ints:
    """(row,) which rows to keep, sorted along a fixed direction, by which copies are neighbours."""
    along = np.random.default_rng(fixed_seed_of("unit_rows.order")).standard_normal(rows.shape[1])
    order = np.argsort(rows.double().numpy() @ along, kind="stable")
    apart = (rows[torch.from_numpy(order)].diff(dim=0).abs().amax(1) > SAME).numpy() if len(rows) > 1 else np.empty(0)
    new: Bools = np.concatenate([np.ones(min(len(rows), 1), dtype=bool), apart.astype(bool)])
    return order[new]
