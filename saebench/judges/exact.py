"""The judge of the embedded model: it explains by the truest concept of the world, and judges by what is true there."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

from saebench.judges.concepts import Concepts
from saebench.judges.judge import Explanations
from saebench.judges.passages import Passages

VERSION = 1
NAME = f"exact judge {VERSION}"


@dataclass(frozen=True)
class Exact:
    """Needs nothing, asks nobody, and is always right about its own explanation."""

    concepts: Concepts

    @property
    def name(self) -> str:
        return NAME

    def explain(self, shown: Passages) -> Explanations:
        """The concept whose tokens have the largest F1 with those that are marked; None where nothing is."""
        vocabulary = self.concepts.tokens.shape[1]
        all_of, marked = (_counts(shown.ids, kept, vocabulary) for kept in (np.ones_like(shown.marked), shown.marked))
        hit, said = (np.asarray((side @ self.concepts.tokens.T).todense()) for side in (marked, all_of))
        wanted = np.asarray(marked.sum(axis=1))
        f1 = 2 * hit / np.maximum(said + wanted[:, None], 1)
        return [
            self.concepts.names[at] if best > 0 else None
            for at, best in zip(f1.argmax(axis=1).tolist(), f1.max(axis=1).tolist(), strict=True)
        ]

    def fires(self, explanations: Explanations, texts: Passages) -> Float[np.ndarray, "latent text"]:
        """1 where a token of the text is of the concept, 0 elsewhere."""
        return self._answered(explanations, self._of_concept(explanations, texts).any(axis=2).astype(np.float64))

    def fits(self, explanations: Explanations, texts: Passages) -> Float[np.ndarray, "latent text"]:
        """The share of the marked tokens that are of the concept."""
        of_concept = (self._of_concept(explanations, texts) & texts.marked).sum(axis=2)
        return self._answered(explanations, of_concept / np.maximum(texts.marked.sum(axis=2), 1))

    def contained(
        self, explanations: Explanations, ids: Int[np.ndarray, "text position"]
    ) -> Bool[np.ndarray, "latent text"]:
        """(latent, text) which of some texts of the world have a token of what explains a latent."""
        texts = _counts(ids[:, None], np.ones_like(ids[:, None], dtype=bool), self.concepts.tokens.shape[1])
        rows = [self.concepts.place.get(said or "", -1) for said in explanations]
        found = np.asarray((self.concepts.tokens[rows] @ texts.T).toarray() > 0)
        return found & (np.array(rows) >= 0)[:, None]

    def _of_concept(self, explanations: Explanations, texts: Passages) -> Bool[np.ndarray, "latent text position"]:
        """(latent, text, position) whether a token is of what explains the latent; by chunks of latents, for memory."""
        names = [said if said is not None else self.concepts.names[0] for said in explanations]
        found = np.zeros(texts.ids.shape, dtype=bool)
        for start in range(0, len(names), 256):
            has = self.concepts.has(names[start : start + 256])
            found[start : start + 256] = has[np.arange(len(has))[:, None, None], texts.ids[start : start + 256]]
        return found

    def _answered(
        self, explanations: Explanations, answers: Float[np.ndarray, "latent text"]
    ) -> Float[np.ndarray, "latent text"]:
        has = np.array([said is not None for said in explanations], dtype=bool)
        return np.where(has[:, None], answers, np.nan)


def _counts(ids: np.ndarray, kept: np.ndarray, vocabulary: int) -> sparse.csr_array:
    """(latent, vocabulary) how often each token is among those that are kept; what ends a text counts in none."""
    latent = np.broadcast_to(np.arange(len(ids))[:, None, None], ids.shape)
    kept = kept & (ids >= 0)
    ones = np.ones(int(kept.sum()))
    return sparse.csr_array(sparse.coo_array((ones, (latent[kept], ids[kept])), shape=(len(ids), vocabulary)).tocsr())
