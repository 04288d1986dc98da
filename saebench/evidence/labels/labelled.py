"""Latents of an SAE at labelled texts, sparse from the first batch on."""

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse
from torch import Tensor

from saebench.evidence.labels.probing import Labelled
from saebench.evidence.labels.readings import Readings
from saebench.record.score import Unscored
from saebench.saes.sae import LoadedSAE
from saebench.saes.sparsity import MOST_ACTIVE, to_sparse
from saebench.subject.batches import Batch

BATCH = 2048
"""Rows per encoding; scores do not depend on it."""


def labelled(
    sae: LoadedSAE, readings: Readings, random: LoadedSAE | None = None, of_random_model: Labelled | None = None
) -> Labelled:
    """Encode every text once. Raises Unscored for an SAE of another width, or one that is too dense."""
    if sae.spec.d_in not in (None, readings.x.shape[1]):
        raise Unscored(f"the SAE reads {sae.spec.d_in} dimensions, the model has {readings.x.shape[1]}", broken=True)
    latents, unit = in_own_units(latents_of(sae, readings))
    directions = None if random is None else in_own_units(latents_of(random, readings))[0]
    return Labelled(readings, latents, directions, unit, of_random_model)


def latents_of(sae: LoadedSAE, readings: Readings) -> sparse.csr_array:
    """(text, latent) latents, or their mean over a text's tokens."""
    rows, text_of, place = readings.once
    taken = 0

    def some(at: slice) -> tuple[sparse.coo_array, int]:
        nonlocal taken
        x = readings.x[rows[at]].float().to(sae.device)
        summed = to_sparse(_summed(sae.encode(x), text_of[at]))
        taken += summed.nnz
        if taken > MOST_ACTIVE:
            raise Unscored(f"more than {MOST_ACTIVE:,} latents are active on labelled texts, which are not kept")
        return summed.tocoo(), int(text_of[at][0])

    parts = Batch(BATCH).over(len(rows), some)
    texts = np.concatenate([part.row + first for part, first in parts])
    latents, values = (np.concatenate([getattr(part, name) for part, _ in parts]) for name in ("col", "data"))
    # What stands in two batches of a text is added up.
    shape = (int(text_of[-1]) + 1, parts[0][0].shape[1])
    total = sparse.csr_array((values.astype(np.float64), (texts, latents)), shape=shape)
    count = np.bincount(text_of, minlength=shape[0])
    total.data /= count[np.repeat(np.arange(shape[0]), np.diff(total.indptr))]
    return total if len(place) == shape[0] else sparse.csr_array(total[place])


def _summed(latents: Tensor, text_of: Int[np.ndarray, " row"]) -> Tensor:
    """(text, latent) sums over the rows of a batch, of the texts from its first one on."""
    place = torch.from_numpy(text_of - text_of[0]).to(latents.device)
    count = int(place[-1]) + 1
    if count == len(latents):
        return latents
    return torch.zeros(count, latents.shape[1], device=latents.device).index_add_(0, place, latents.float())


def in_own_units(latents: sparse.csr_array) -> tuple[sparse.csr_array, Float[np.ndarray, " latent"]]:
    """Each latent over its mean magnitude where it is active, and (latent,) that mean; 1 for one that never is."""
    d_sae = latents.shape[1]
    total = np.bincount(latents.indices, weights=np.abs(latents.data), minlength=d_sae)
    count = np.bincount(latents.indices, weights=latents.data != 0, minlength=d_sae)
    unit = np.where(total > 0, total / np.maximum(count, 1), 1.0)
    data = latents.data / unit[latents.indices]
    return sparse.csr_array((data, latents.indices, latents.indptr), shape=latents.shape), unit
