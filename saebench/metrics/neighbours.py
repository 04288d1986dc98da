"""How near the closest other latent is, in what latents write and in what they read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from saebench.record.score import Estimate, Unscored
from saebench.stats.statistics import never_certain, ratio_of_sums

if TYPE_CHECKING:
    from saebench.evidence.written import Neighbours, Written


def nearest_decoder(written: Written) -> Estimate:
    """Cosine of a latent's decoder direction with the nearest of another latent, mean over latents that are alive.

    1 where each has a copy. The floor is that of as many random directions, which are nearer to each other the more there
    are; neither more nor less is better. Of wide SAEs 1,024 latents are asked, against all others. Latents count on the side on
    which they are active. The control `all_latents` has dead ones too, as SAEBench's `average_max_decoder_cosine_sim` has
    (arXiv 2503.09532).
    """
    return _nearest(written.neighbours, "reconstruction.nearest_decoder")


def nearest_encoder(read: Neighbours) -> Estimate:
    """Cosine of a latent's encoder weights (`W_enc`) with the nearest of another latent, mean over latents that are alive.

    1 where each has a copy. The floor is that of as many random directions; neither more nor less is better, and an SAE
    need not have such weights. Of wide SAEs 1,024 latents are asked, against all others. The control `all_latents` has dead
    ones too, as SAEBench's `average_max_encoder_cosine_sim` has (arXiv 2503.09532).
    """
    return _nearest(read, "reconstruction.nearest_encoder")


def _nearest(found: Neighbours, purpose: str) -> Estimate:
    if len(found.cosine) < 2:
        raise Unscored(f"{found.alive} latents that are ever active have a direction, and two are needed")
    estimate = ratio_of_sums(found.cosine, found.cosine**0, purpose=purpose, n_unit="latent")
    controls = {"all_latents": found.every, "alive": float(found.alive)}
    return replace(
        never_certain(estimate, -1.0, 1.0), floor=found.random, controls={**estimate.controls, **controls},
        items={**estimate.items, "latent": found.latents},
    )  # fmt: skip
