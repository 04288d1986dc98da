"""Which latents of an SAE does another one of the same place lack, and would they do it any good?

SAE stitching, after Leask et al. 2025 (arXiv 2502.04878): novel latents have no like in the partner, an SAE of another
width or seed of the same family; reconstruction latents have one. Of wide SAEs, 2,048 latents that are alive are asked.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool

from saebench.record.score import Estimate, Unscored
from saebench.stats.statistics import Bools, Floats, never_certain, proportion, ratio_of_sums

if TYPE_CHECKING:
    from saebench.evidence.stitching import Stitched

LIKE = 0.7
"""Cosine of decoder directions from which on two latents count as one, as published."""
FEWEST = 5
RARE = 0.95


def novel(stitched: Stitched) -> Estimate:
    """Share of latents without a like in another SAE of the family, of another seed or width: no decoder cosine of .7.

    The floor is the same of random unit rows with the mean and the covariance of the SAE's directions. The control
    `beyond_random` is the share whose best cosine is below that which 95% of random rows stay below: nothing at all like
    them is there. Neither more nor less is better: directions that learned nothing are all novel.
    """
    found = _novel(stitched)
    estimate = proportion(int(found.sum()), len(found), n_unit="latent")
    bar = float(np.quantile(stitched.random_cosine, RARE))
    controls = {
        "beyond_random": float((stitched.cosine < bar).mean()), "mean_cosine": float(stitched.cosine.mean()),
        "random_cosine": float(stitched.random_cosine.mean()),
    }  # fmt: skip
    items = {"contribution": found.astype(np.float64), "latent": stitched.unit.latents, "cosine": stitched.cosine}
    return replace(estimate, floor=float((stitched.random_cosine < LIKE).mean()), items=items, controls=controls)


def stitched(stitched: Stitched) -> Estimate:
    """Change of another SAE's squared error when a novel latent is inserted, over the square of what the latent writes.

    The other SAE is one of the family of another seed or width. Each latent is inserted alone, with its activations; sums
    over the latents without a like there (decoder cosine below .7). -1: all that they write is missing there, and below
    it more than they write. 0: half of it is. 1: nothing of it is, as of a direction that has nothing to do with the
    other's error. The floor is that of random unit rows in place of their directions; random directions that read what
    they write get .6 to .8, so that less is not better. `lowers_error`, the share of novel latents with a value below 0,
    is near 0 for them. The control `reconstruction` is that of the latents that have a like.
    Raises Unscored where fewer than five latents are novel.
    """
    chosen = _novel(stitched)
    if chosen.sum() < FEWEST:
        raise Unscored(
            f"{chosen.sum()} of {len(chosen)} latents have no like in {stitched.partner}: fewer than {FEWEST}"
        )
    estimate = ratio_of_sums(
        stitched.change[chosen], stitched.written[chosen], purpose="meta_structure.stitched", n_unit="latent"
    )
    controls = {"lowers_error": float((stitched.change[chosen] < 0).mean()), "novel_latents": float(chosen.sum())}
    if not chosen.all():
        controls["reconstruction"] = _ratio(stitched.change, stitched.written, ~chosen)
        controls["reconstruction_lowers_error"] = float((stitched.change[~chosen] < 0).mean())
    floor = _ratio(stitched.random_change, stitched.written, chosen)
    items = {**estimate.items, "latent": stitched.unit.latents[chosen]}
    return replace(never_certain(estimate, -1.0, 1.0), floor=floor, controls=controls, items=items)


def _novel(stitched: Stitched) -> Bool[np.ndarray, " row"]:
    return np.asarray(stitched.cosine < LIKE)


def _ratio(change: Floats, written: Floats, chosen: Bools) -> float:
    return float(change[chosen].sum() / written[chosen].sum())
