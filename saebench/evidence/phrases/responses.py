"""How much each latent is active on each text, in units of what it is at most: its scale and its sign do not matter."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse
from torch import Tensor

from saebench.evidence.phrases.bank import HIT, Bank
from saebench.evidence.phrases.reading import Reading
from saebench.record.score import Unscored
from saebench.saes.sparsity import MOST_ACTIVE, sides, stacked, to_sparse

QUANTILE = 0.99
BATCH = 1024
"""Tokens per encoding; scores do not depend on it."""
Encode = Callable[[Tensor], Tensor]
"""Activations (token, d) to latents (token, latent)."""
TIE = 1e-3
"""Weight of what decides between latents that tell naming texts apart equally well."""


@dataclass(frozen=True, eq=False)
class Responses:
    """Latents at the texts of a bank."""

    bank: Bank
    most: sparse.csr_array
    """(text, latent) largest activation over a text's tokens, over the latent's 99th percentile; only what is positive."""

    @property
    def alive(self) -> Int[np.ndarray, " latent"]:
        """Latents that are active on any text."""
        return np.unique(self.most.indices)

    @cached_property
    def _naming(self) -> sparse.csr_array:
        """(naming text, latent)"""
        return self.most[self.most.shape[0] - len(self.bank.naming_of) :]

    @cached_property
    def choice(self) -> tuple[Int[np.ndarray, " feature"], Float[np.ndarray, " feature"]]:
        """(feature,) the latent that tells best its naming texts from those of other features, and the F1 of that.

        A text counts as told by a hit. Of equals it is the latent with the largest share of its activation on the
        feature's texts. -1 and 0 where no latent is active on any.
        """
        said = self._naming.data > HIT
        # Both sums at once, in the real and the imaginary part, so that they have the same entries.
        both = sparse.csr_array(
            (said + 1j * self._naming.data, self._naming.indices, self._naming.indptr), self._naming.shape
        )
        found = self._by_feature(both).tocoo()
        of = np.bincount(self.bank.naming_of, minlength=len(self.bank.features))
        total = np.asarray(both.sum(axis=0)).ravel()[found.col]
        f1 = 2 * found.data.real / (total.real + of[found.row])
        order = np.lexsort((-found.col, f1 + TIE * found.data.imag / total.imag, found.row))
        last = order[np.append(np.diff(found.row[order]) > 0, True)] if len(order) else order
        latent, best = np.full(len(of), -1), np.zeros(len(of))
        latent[found.row[last]], best[found.row[last]] = found.col[last], f1[last]
        return latent, best

    def _by_feature(self, naming: sparse.csr_array) -> sparse.csr_array:
        """(feature, latent) sums over the texts that name each."""
        of, count = self.bank.naming_of, len(self.bank.naming_of)
        member = sparse.csr_array((np.ones(count), (of, np.arange(count))), shape=(len(self.bank.features), count))
        return sparse.csr_array(member @ naming)

    def at_phrases(self, latents: Int[np.ndarray, " feature"]) -> Float[np.ndarray, "feature phrase"]:
        """(latent, phrase) of some latents."""
        return np.asarray(self.most[: len(self.bank.phrases)].tocsc()[:, latents].toarray().T, dtype=np.float64)

    def at_near(self, latents: Int[np.ndarray, " feature"]) -> Float[np.ndarray, "feature near"]:
        """(latent, near miss) of some latents."""
        start = len(self.bank.phrases)
        near = self.most[start : start + len(self.bank.near_of)]
        return np.asarray(near.tocsc()[:, latents].toarray().T, dtype=np.float64)


def respond(encode: Encode, device: str, reading: Reading, corpus: sparse.csr_array) -> Responses:
    """Encode all texts, and hold each latent against its own 99th percentile on a corpus (token, latent) and naming texts.

    The percentile is that of its positive activations, and of the side that it is on more. Raises Unscored where latents
    are too dense to be kept.
    """
    tokens = encoded(encode, device, reading.x)
    side = sides(corpus, tokens)
    corpus, tokens = (_positive(part, side) for part in (corpus, tokens))
    naming = reading.text_of >= len(reading.bank.texts) - len(reading.bank.naming_of)
    scale = quantiles(stacked([corpus, tokens[naming]]))
    most = _most(tokens, reading.text_of, len(reading.bank.texts))
    # What is active on no text and no naming text has no scale, nor any entry that is kept.
    unknown = scale[most.indices] <= 0
    most.data = np.where(unknown, 0.0, most.data / np.where(unknown, 1.0, scale[most.indices]))
    most.eliminate_zeros()
    return Responses(reading.bank, most)


def encoded(encode: Encode, device: str, x: Float[Tensor, "token d"]) -> sparse.csr_array:
    """(token, latent). Raises Unscored where so many are active that they cannot be kept."""
    parts: list[sparse.csr_array] = []
    for start in range(0, len(x), BATCH):
        parts.append(to_sparse(encode(x[start : start + BATCH].to(device))))
        if sum(part.nnz for part in parts) > MOST_ACTIVE:
            raise Unscored("so many latents are active on phrases that they cannot be kept")
    return stacked(parts)


def _positive(latents: sparse.csr_array, side: Float[np.ndarray, " latent"]) -> sparse.csr_array:
    found = sparse.csr_array((latents.data * side[latents.indices], latents.indices, latents.indptr), latents.shape)
    found.data = np.maximum(found.data, 0)
    found.eliminate_zeros()
    return found


def quantiles(latents: sparse.csr_array) -> Float[np.ndarray, " latent"]:
    """(latent,) 99th percentile of what is positive in (token, latent): the least value that 99% do not exceed; or 0."""
    order = np.lexsort((latents.data, latents.indices))
    count = np.bincount(latents.indices, minlength=latents.shape[1])
    place = np.cumsum(count) - count + np.ceil(QUANTILE * count).astype(np.intp) - 1
    found = np.zeros(latents.shape[1])
    has = count > 0
    found[has] = latents.data[order[place[has]]]
    return found


def _most(tokens: sparse.csr_array, text_of: Int[np.ndarray, " token"], texts: int) -> sparse.csr_array:
    """(text, latent) largest of (token, latent), which is positive."""
    text = np.repeat(text_of, np.diff(tokens.indptr)).astype(np.int64)
    key = text * tokens.shape[1] + tokens.indices
    order = np.argsort(key, kind="stable")
    first = np.flatnonzero(np.diff(key[order], prepend=-1))
    if not len(first):
        return sparse.csr_array((texts, tokens.shape[1]), dtype=np.float64)
    data = np.maximum.reduceat(tokens.data[order].astype(np.float64), first)
    row, column = np.divmod(key[order[first]], tokens.shape[1])
    return sparse.csr_array((data, (row, column)), shape=(texts, tokens.shape[1]))
