"""Probes of labelled sets: on a few latents of an SAE, on all of them, or on the activation itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from saebench.evidence.labels.fitting import FEW_STRENGTHS, STRENGTHS, fitted, says
from saebench.evidence.labels.layout import Layout
from saebench.evidence.labels.parts import Part
from saebench.evidence.labels.ranks import auc
from saebench.evidence.memory import Memory
from saebench.record.score import Unscored

if TYPE_CHECKING:
    from scipy import sparse
    from torch import Tensor

    from saebench.evidence.labels.readings import Readings

Selection = Literal["deviation", "published"]
"""Latents by the difference of class means in units of their standard deviation, or as the package sae-probes chooses them:
in units of their mean magnitude over those of the texts that are learned from at which they are active."""
TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Labelled:
    """What an SAE makes of labelled texts. Nothing here depends on how it scales its latents, or on their signs."""

    readings: Readings
    latents: sparse.csr_array
    """(text, latent), each in units of its mean where it is active."""
    random: sparse.csr_array | None
    """The same of random directions, as many and as sparse; None where there are none."""
    unit: Float[np.ndarray, " latent"] = field(default_factory=lambda: np.ones(1))
    """The SAE's own value of 1 of each latent; 1 for one that is never active."""
    of_random_model: Labelled | None = None
    """The same texts in the model with random weights, and an SAE of that; None where there is none."""
    memory: Memory = field(default_factory=Memory, init=False, repr=False)


@dataclass(frozen=True, eq=False)
class Said:
    """What probes say of the texts of all sets, in rows of one length."""

    names: tuple[str, ...]
    probability: Float[np.ndarray, "set text"]
    positive: Bool[np.ndarray, "set text"]
    part: Int[np.ndarray, "set text"]
    latents: Int[np.ndarray, "set k"] | None = None
    """Which latents were chosen for each set; None where all were used."""

    @property
    def tested(self) -> Bool[np.ndarray, "set text"]:
        found: Bool[np.ndarray, "set text"] = self.part == Part.TEST
        return found

    @property
    def auc(self) -> Float[np.ndarray, " set"]:
        return auc(self.probability, self.positive, self.tested)


def choose(latents: sparse.csr_array, layout: Layout, k: int, selection: Selection) -> Int[np.ndarray, "set k"]:
    """The k latents that tell the classes of each set best, on the texts that are learned from; the best first.

    All sets at once, by two sparse products.
    """
    learned = layout.mask(Part.TRAIN, Part.VALIDATION)
    sides = [mean_over(layout, learned & (layout.positive == own), latents.shape[0]) for own in (True, False)]
    positive, negative = ((side @ latents).toarray() for side in sides)
    apart = np.abs(positive - negative)
    if selection == "deviation":
        within = sum((side @ latents.power(2)).toarray() for side in sides) - positive**2 - negative**2
        apart = apart / np.sqrt(np.maximum(within, 0) + TINY + 1 / learned.sum(1)[:, None])
    else:
        every = mean_over(layout, learned, latents.shape[0])
        active = (every @ (latents != 0).astype(np.float64)).toarray()
        apart = apart * active / np.maximum((every @ abs(latents)).toarray(), TINY)
    order = np.argsort(-apart, axis=1, kind="stable")
    found: Int[np.ndarray, "set k"] = order[:, :k]
    return found


def check_active(latents: sparse.csr_array) -> None:
    """Raises Unscored where there is nothing to learn from."""
    if latents.nnz == 0:
        raise Unscored("no latent is active on any labelled text")


def mean_over(layout: Layout, side: Bool[np.ndarray, "set text"], texts: int) -> sparse.csr_array:
    """(set, text) what takes the mean over some texts of each set."""
    from scipy import sparse

    sets, places = np.nonzero(side)
    weight = 1 / np.maximum(side.sum(1), 1)[sets]
    return sparse.csr_array((weight, (sets, layout.text[sets, places])), shape=(len(side), texts))


def on_latents(latents: sparse.csr_array, layout: Layout, chosen: Int[np.ndarray, "set k"]) -> Said:
    """Logistic probes on the latents that were chosen for each set."""
    import torch

    own = [latents[text][:, latent].toarray() for text, latent in zip(layout.text, chosen, strict=True)]
    x = torch.from_numpy(np.stack(own)).double()
    probability = says(x, fitted(x, layout, STRENGTHS))
    return Said(layout.names, probability, layout.positive, layout.part, chosen)


def on_all(gram: Gram, layout: Layout, strengths: Sequence[float] = FEW_STRENGTHS) -> Said:
    """Logistic probes on everything, of which only inner products of texts are needed; one set after the other."""
    found = []
    for one in layout.each():
        x = coordinates(gram.of(one.text[0]), one.mask(Part.TRAIN, Part.VALIDATION)[0])[0][None]
        found.append(says(x, fitted(x, one, strengths))[0])
    return Said(layout.names, np.stack(found), layout.positive, layout.part)


@dataclass(frozen=True, eq=False)
class Gram:
    """Inner products of what stands for texts: sparse latents, or activations."""

    rows: sparse.csr_array | Float[Tensor, "text d"]

    def of(self, text: Int[np.ndarray, " text"]) -> Float[Tensor, "text text"]:
        import torch

        if isinstance(self.rows, torch.Tensor):
            x = self.rows[torch.from_numpy(text)].double()
            return x @ x.T
        x = self.rows[text]
        return torch.from_numpy((x @ x.T).toarray()).double()


def coordinates(
    gram: Float[Tensor, "text text"], learned: Bool[np.ndarray, " text"]
) -> tuple[Float[Tensor, "text r"], Float[Tensor, "learned r"]]:
    """Coordinates in which inner products with the texts that are learned from are those of `gram`, and what makes them.

    Weights that are held back lie in the span of what they are learned from (Schoelkopf et al. 2001), so that a probe
    in these coordinates is the one in all of them.
    """
    import torch

    at = torch.from_numpy(np.flatnonzero(learned))
    try:
        values, vectors = torch.linalg.eigh(gram[at][:, at])
    except RuntimeError:  # torch.linalg.LinAlgError, which torch does not name to type checkers
        raise Unscored("the inner products of texts are too near one another to be decomposed") from None
    kept = values > 1e-9 * values[-1].clamp(min=1e-30)
    # Where nothing is on at any of them, one coordinate that is 0 for all texts.
    kept[-1] = True
    basis = vectors[:, kept] / values[kept].clamp(min=1e-30).sqrt()
    return gram[:, at] @ basis, basis
