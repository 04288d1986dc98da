"""What latents write along the probe of a concept, at words, and which of them writes most."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int, Shaped

from saebench.evidence.words.detectors import Detectors
from saebench.evidence.words.published import Projections, projections

if TYPE_CHECKING:
    from saebench.evidence.words.study import Study


def project(study: Study, detectors: Detectors, concept: int, rows: Int[np.ndarray, " row"]) -> Projections:
    """Latents of some rows on the probe of one concept."""
    total = (study.x[rows] @ study.probe.direction[concept]).numpy()
    return projections(study.latents[rows], study.cosines[concept], detectors.split_latents(concept), total)


def project_each(
    study: Study, detectors: Detectors, owner: Int[np.ndarray, " row"], rows: Int[np.ndarray, " row"]
) -> Projections:
    """Latents of each row on the probe of a concept of its own (row,)."""
    total = (study.x[rows] * study.probe.direction[owner]).sum(dim=1).numpy()
    every = projections(study.latents[rows], np.zeros(study.latents.shape[1]), np.empty(0, dtype=np.intp), total)
    split = np.zeros(every.latent.shape, dtype=bool)
    for concept in np.unique(owner).tolist():
        split[owner == concept] = np.isin(every.latent[owner == concept], detectors.split_latents(concept))
    cosine = np.where(every.latent >= 0, study.cosines[owner[:, None], every.latent], 0.0).astype(np.float64)
    return Projections(every.latent, every.activation, cosine, split, every.total)


def carrier_columns(
    study: Study,
    detectors: Detectors,
    owner: Int[np.ndarray, " row"],
    rows: Int[np.ndarray, " row"],
    words: Projections,
) -> dict[str, Shaped[np.ndarray, " row"]]:
    """Of rows with a concept of their own (row,): the latent that holds most of the probe's direction."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = words.at_top(words.value) / words.total
    return {
        "carrier_concept": np.array(study.concepts)[owner], "carrier_row": rows,
        "carrier_word": np.array(study.words)[study.word_of[rows]], "carrier_main": detectors.main[owner],
        "carrier": words.at_top(words.latent), "carrier_activation": words.at_top(words.activation),
        "carrier_cosine": words.at_top(words.cosine), "carrier_share": share,
    }  # fmt: skip
