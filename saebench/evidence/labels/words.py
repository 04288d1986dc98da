"""What latents fire on, in words: the last word of the labelled texts where each is largest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

if TYPE_CHECKING:
    from scipy import sparse

    from saebench.evidence.labels.readings import Readings

WORDS = 3
"""Per latent, each once."""
LOOKED_AT = 12
"""Texts per latent, of which many may end in the same word."""
LONGEST = 20
"""Characters of a word that are kept."""


def latents_with_words(latents: sparse.csr_array, readings: Readings, chosen: Int[np.ndarray, "set k"]) -> list[str]:
    """(set,) the latents that were chosen for each, in their order, with what they fire on: `7 (Rome, Paris), 12 (Bob)`."""
    every = np.unique(chosen)
    names = np.array(
        [f"{latent} ({said})" for latent, said in zip(every, _words(latents, readings, every), strict=True)]
    )
    return [", ".join(row) for row in names[np.searchsorted(every, chosen)]]


def _words(latents: sparse.csr_array, readings: Readings, every: Int[np.ndarray, " latent"]) -> list[str]:
    own = latents[:, every].tocsc()
    column = np.repeat(np.arange(len(every)), np.diff(own.indptr))
    order = np.lexsort((-np.abs(own.data), column))
    texts = [text for one in readings.plan.sets for text in one.texts]
    first = [own.indices[order[start:end][:LOOKED_AT]] for start, end in zip(own.indptr, own.indptr[1:], strict=False)]
    return [", ".join(list(dict.fromkeys(last_word(texts[text]) for text in rows))[:WORDS]) for rows in first]


def last_word(text: str) -> str:
    """What a text ends in; a sign that stands by itself counts as a word."""
    words = text.split()
    return words[-1][-LONGEST:] if words else ""
