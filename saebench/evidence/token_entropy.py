"""How a latent's activation is spread over token ids (Heap et al., arXiv 2501.17727)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import sparse

from saebench.record.score import Unscored
from saebench.stats.statistics import Floats, Ints, seed_of

if TYPE_CHECKING:
    from saebench.evidence.trace import Encoded


ACTIVATIONS = 50
"""Activations of a latent that its token entropy is taken of."""
DRAWS = 10
"""Over which the choice of activations is averaged."""
FEWEST_LATENTS = 20
"""Latents with as many activations."""


def entropies(trace: Encoded) -> Float[np.ndarray, " latent"]:
    """(latent,) token entropy of every latent with at least `ACTIVATIONS` activations, of as many of them.

    Raises Unscored where fewer than `FEWEST_LATENTS` latents have as many, or all latents are on so often that they were not
    kept.
    """
    if trace.latents is None:
        raise Unscored("the latents are too dense to be kept")
    columns = sparse.coo_array(trace.latents)
    tokens, latent, value = trace.tokens.numpy()[columns.row], columns.col, np.abs(columns.data).astype(np.float64)
    counts = np.bincount(latent, minlength=trace.latents.shape[1])
    usable = np.flatnonzero(counts >= ACTIVATIONS)
    if len(usable) < FEWEST_LATENTS:
        raise Unscored(
            f"{len(usable)} latents are active {ACTIVATIONS} times in this corpus: fewer than {FEWEST_LATENTS}"
        )
    inside = counts[latent] >= ACTIVATIONS
    tokens, latent, value = tokens[inside], latent[inside], value[inside]
    rng = np.random.default_rng(seed_of("marginal_structure.token_entropy"))
    row = columns.row[inside]
    # All latents draw by the same order of tokens: what one is drawn at depends on no other latent.
    drawn = [_entropy(tokens, latent, value, rng.random(len(trace.tokens))[row])[usable] for _ in range(DRAWS)]
    return np.asarray(np.mean(drawn, axis=0))


def _entropy(tokens: Ints, latent: NDArray[np.integer], value: Floats, place_of: Floats) -> Floats:
    """(d_sae,) entropy of `ACTIVATIONS` activations of each latent: those that come first in an order."""
    order = np.lexsort((place_of, latent))
    place = np.arange(len(order)) - np.searchsorted(latent[order], latent[order])
    drawn = order[place < ACTIVATIONS]
    mass = sparse.coo_array((value[drawn], (latent[drawn], tokens[drawn]))).tocsr()
    mass.sum_duplicates()
    total = np.asarray(mass.sum(axis=1)).ravel()
    rows = np.repeat(np.arange(mass.shape[0]), np.diff(mass.indptr))
    p = mass.data / total[rows]
    return np.asarray(np.bincount(rows, weights=-p * np.log(p), minlength=mass.shape[0]), dtype=np.float64)
