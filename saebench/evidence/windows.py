"""Pieces of texts within an SAE's training context, and where its latents are active in them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

from saebench.evidence.trace import Encoded
from saebench.judges.passages import END
from saebench.record.score import Unscored
from saebench.saes.sparsity import sides
from saebench.subject.activations import Activations, own_positions

LONG = 32
"""Tokens of a window, as in Paulo et al. (arXiv 2410.13928)."""
SHORTEST = 16
"""Tokens that the last window of a context must have."""


@dataclass(frozen=True)
class Windows:
    """Runs of tokens that follow on each other in one document; none has BOS."""

    start: Int[np.ndarray, " window"]
    """Row of its first token among those that were encoded."""
    length: Int[np.ndarray, " window"]
    of_token: Int[np.ndarray, " token"]
    """Which window each encoded token is in; -1 for none."""
    tokens: Int[np.ndarray, " token"]
    """Ids."""

    def __len__(self) -> int:
        return len(self.start)

    def rows(self, chosen: Int[np.ndarray, "latent text"]) -> Int[np.ndarray, "latent text position"]:
        """(latent, text, position) rows of the tokens of windows; -1 behind a window's end."""
        at = np.arange(LONG)
        return np.where(at < self.length[chosen][..., None], self.start[chosen][..., None] + at, -1)

    def ids(self, rows: Int[np.ndarray, "latent text position"]) -> Int[np.ndarray, "latent text position"]:
        return np.where(rows >= 0, self.tokens[rows], END)

    def total(self, on: sparse.csr_array) -> sparse.csr_array:
        """(window, latent) on how many of its tokens a latent is active, of (token, latent) ones."""
        inside = np.flatnonzero(self.of_token >= 0)
        ones = np.ones(len(inside), dtype=np.float32)
        member = sparse.csr_array((ones, (self.of_token[inside], inside)), shape=(len(self), len(self.tokens)))
        return sparse.csr_array(member @ on)


def windows_of(activations: Activations, inside: int) -> Windows:
    """The windows of all contexts, in the order in which `trace.encode` encodes their tokens."""
    counted = own_positions(activations.length - 1, activations.tokens.shape[1])[:, 1:inside].numpy()
    tokens = activations.tokens[:, 1:inside].numpy()[counted]
    context, position = counted.nonzero()
    key = context * (counted.shape[1] // LONG + 1) + position // LONG
    _, start, window, length = np.unique(key, return_index=True, return_inverse=True, return_counts=True)
    kept = length >= SHORTEST
    renamed = np.where(kept, kept.cumsum() - 1, -1)
    return Windows(start[kept], length[kept], renamed[window], tokens)


@dataclass(frozen=True)
class Active:
    """Where latents are active, each turned to its positive side."""

    windows: Windows
    latents: sparse.csr_array
    """(token, latent)"""
    side: Float[np.ndarray, " latent"]
    """1 or -1: what they were turned by."""
    on: sparse.csr_array
    """(window, latent) on how many tokens a latent is active, which means above 0."""
    any: sparse.csr_array
    """The same for whatever is not 0."""

    def peaks(self, chosen: Int[np.ndarray, " latent"]) -> Float[np.ndarray, "latent window"]:
        """The largest activation of some latents in each window; 0 where it is not active."""
        part = sparse.coo_array(self.latents[:, chosen])
        window = self.windows.of_token[part.row]
        kept = (window >= 0) & (part.data > 0)
        found = np.zeros((len(chosen), len(self.windows)))
        np.maximum.at(found, (part.col[kept], window[kept]), part.data[kept])
        return found

    def at(
        self, chosen: Int[np.ndarray, " latent"], rows: Int[np.ndarray, "latent text position"]
    ) -> Float[np.ndarray, "latent text position"]:
        """(latent, text, position) activations of each latent at the tokens of its own windows; 0 behind their end."""
        part = sparse.csr_array(self.latents[:, chosen])
        columns = np.broadcast_to(np.arange(len(chosen))[:, None, None], rows.shape)
        found = np.asarray(part[np.maximum(rows, 0).ravel(), columns.ravel()]).reshape(rows.shape)
        return np.where(rows >= 0, found, 0.0).astype(np.float64)


def active(encoded: Encoded, windows: Windows) -> Active:
    """Raises Unscored where the latents are too dense to be kept, and where they are not those of the windows' tokens."""
    if encoded.latents is None:
        raise Unscored("the latents are too dense to be kept")
    side = sides(encoded.latents)
    latents = by_side(encoded.latents, side)
    whatever = windows.total(_ones(latents))
    positive = whatever if latents.data.min(initial=0) >= 0 else windows.total(_ones(_positive(latents)))
    return Active(windows, latents, side.astype(np.float64), positive, whatever)


def fired(
    latents: sparse.csr_array, side: Float[np.ndarray, " latent"], windows: Windows
) -> Bool[np.ndarray, "latent window"]:
    """(latent, window) whether latents (token, latent), turned by `side`, are above 0 on any token of a window."""
    positive = _positive(by_side(latents, side))
    return np.asarray(windows.total(_ones(positive)).toarray().T > 0)


def by_side(latents: sparse.csr_array, side: Float[np.ndarray, " latent"]) -> sparse.csr_array:
    """Latents (token, latent), each times its side."""
    data = latents.data * side.astype(np.float32)[latents.indices]
    return sparse.csr_array((data, latents.indices, latents.indptr), shape=latents.shape)


def _positive(latents: sparse.csr_array) -> sparse.csr_array:
    found = latents.copy()
    found.data = np.maximum(found.data, 0)
    found.eliminate_zeros()
    return found


def _ones(latents: sparse.csr_array) -> sparse.csr_array:
    ones = np.ones(len(latents.data), dtype=np.float32)
    return sparse.csr_array((ones, latents.indices, latents.indptr), shape=latents.shape)
