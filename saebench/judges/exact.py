"""The judge of the embedded model: it explains by the truest concept of the world, and judges by what is true there."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from scipy import sparse

from saebench.judges.concepts import Concepts
from saebench.judges.judge import Explanations
from saebench.judges.passages import END, Passages

VERSION = 1
NAME = f"exact judge {VERSION}"
AFTER = "what follows "
"""Before a concept: the tokens behind those that are of it."""
CHUNK = 256
"""Latents at a time."""


@dataclass(frozen=True)
class Exact:
    """Needs nothing, asks nobody, and is always right about its own explanation.

    It knows tokens and what stands before them; what is true of a whole document, such as its genre, it does not say.
    """

    concepts: Concepts

    @property
    def name(self) -> str:
        return NAME

    def explain(self, shown: Passages) -> Explanations:
        """The concept whose tokens, or the tokens behind them, have the largest F1 with those that are marked."""
        return [
            said
            for start in range(0, len(shown.ids), CHUNK)
            for said in self._explained(shown.ids[start : start + CHUNK], shown.marked[start : start + CHUNK])
        ]

    def _explained(self, ids: NDArray[np.intp], marked: NDArray[np.bool_]) -> Explanations:
        """None where nothing is marked."""
        names = [*self.concepts.names, *(f"{AFTER}{name}" for name in self.concepts.names)]
        f1 = np.concatenate([self._f1(each, marked) for each in (ids, _before(ids))], axis=1)
        best = f1.argmax(axis=1)
        return [names[at] if f1[row, at] > 0 else None for row, at in enumerate(best.tolist())]

    def _f1(self, ids: NDArray[np.intp], marked: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(latent, concept)"""
        vocabulary = self.concepts.tokens.shape[1]
        found = (_counts(ids, kept, vocabulary) for kept in (marked, np.ones_like(marked)))
        hit, said = (np.asarray((side @ self.concepts.tokens.T).toarray()) for side in found)
        return np.asarray(2 * hit / np.maximum(said + marked.sum(axis=(1, 2))[:, None], 1))

    def fires(self, explanations: Explanations, texts: Passages) -> Float[np.ndarray, "latent text"]:
        """1 where a token of the text is of the concept, 0 elsewhere."""
        return _answered(explanations, np.asarray(self._of_concept(explanations, texts).any(axis=2)))

    def fits(self, explanations: Explanations, texts: Passages) -> Float[np.ndarray, "latent text"]:
        """The share of the marked tokens that are of the concept."""
        of_concept = (self._of_concept(explanations, texts) & texts.marked).sum(axis=2)
        return _answered(explanations, of_concept / np.maximum(texts.marked.sum(axis=2), 1))

    def contained(
        self, explanations: Explanations, ids: Int[np.ndarray, "text position"]
    ) -> Bool[np.ndarray, "latent text"]:
        """(latent, text) which of some texts of the world have a token of what explains a latent."""
        rows, after = self._rows(explanations)
        found = [
            self.concepts.tokens[rows] @ _counts(each[:, None], np.ones_like(each[:, None], dtype=bool), self._width).T
            for each in (ids, _before(ids[:, None])[:, 0])
        ]
        own, behind = (np.asarray(each.toarray() > 0) for each in found)
        return np.where(after[:, None], behind, own) & _has(explanations)[:, None]

    @property
    def _width(self) -> int:
        return int(self.concepts.tokens.shape[1])

    def _rows(self, explanations: Explanations) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """(latent,) number of its concept, and whether it is about what follows."""
        after = [(said or "").startswith(AFTER) for said in explanations]
        names = [(said or self.concepts.names[0]).removeprefix(AFTER) for said in explanations]
        return np.array([self.concepts.place[name] for name in names], dtype=np.intp), np.array(after, dtype=bool)

    def _of_concept(self, explanations: Explanations, texts: Passages) -> NDArray[np.bool_]:
        """(latent, text, position) whether a token is of what explains the latent."""
        rows, after = self._rows(explanations)
        ids = np.where(after[:, None, None], _before(texts.ids), texts.ids)
        found = np.zeros(ids.shape, dtype=bool)
        for start in range(0, len(rows), CHUNK):
            some = slice(start, start + CHUNK)
            has = np.asarray(self.concepts.tokens[rows[some]].toarray() > 0)
            found[some] = has[np.arange(len(has))[:, None, None], ids[some]]
        return found


def _before(ids: NDArray[np.intp]) -> NDArray[np.intp]:
    """(latent, text, position) the token before each; none before a text's first, nor behind its end."""
    previous = np.concatenate([np.full((*ids.shape[:2], 1), END, dtype=np.intp), ids[..., :-1]], axis=2)
    return np.where(ids == END, END, previous)


def _has(explanations: Explanations) -> NDArray[np.bool_]:
    return np.array([said is not None for said in explanations], dtype=bool)


def _answered(explanations: Explanations, answers: NDArray[np.generic]) -> NDArray[np.float64]:
    return np.where(_has(explanations)[:, None], answers.astype(np.float64), np.nan)


def _counts(ids: NDArray[np.intp], kept: NDArray[np.bool_], vocabulary: int) -> sparse.csr_array:
    """(latent, vocabulary) how often each token is among those that are kept; what ends a text counts in none."""
    kept = kept & (ids != END)
    latent = np.broadcast_to(np.arange(len(ids))[:, None, None], ids.shape)[kept]
    table = sparse.coo_array((np.ones(len(latent)), (latent, ids[kept])), shape=(len(ids), vocabulary))
    return sparse.csr_array(table)
