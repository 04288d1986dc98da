"""Probes of labelled sets: on a few latents of an SAE, on all of them, or on the activation itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from saebench.evidence.labels.logistic import logistic
from saebench.evidence.labels.parts import Part
from saebench.evidence.labels.ranks import auc
from saebench.evidence.memory import Memory
from saebench.stats.statistics import Floats, seed_of

if TYPE_CHECKING:
    from scipy import sparse
    from torch import Tensor

    from saebench.evidence.labels.readings import Readings

Selection = Literal["deviation", "published"]
"""Latents by the difference of class means in units of their standard deviation, or of their mean where they are active."""
STRENGTHS = tuple(float(c) for c in np.logspace(5, -5, 10))
"""How little weights are held back, as published; validation texts choose."""
FEW_STRENGTHS = (10.0, 1.0, 0.1, 0.01, 0.001)
"""The same for probes of everything, where each is dear."""
TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Labelled:
    """What an SAE makes of labelled texts. Nothing here depends on how it scales its latents, or on their signs."""

    readings: Readings
    latents: sparse.csr_array
    """(text, latent), each in units of its mean where it is active."""
    random: sparse.csr_array | None
    """The same of random directions, as many and as sparse; None where there are none."""
    unit: Floats = field(default_factory=lambda: np.ones(1))
    """(latent,) the SAE's own value of 1 of each latent; 1 for one that is never active."""
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


@dataclass(frozen=True, eq=False)
class Layout:
    """Texts of sets, in rows of one length: filling is of no part."""

    names: tuple[str, ...]
    text: Int[np.ndarray, "set text"]
    """Index of each text; 0 where there is none."""
    positive: Bool[np.ndarray, "set text"]
    part: Int[np.ndarray, "set text"]

    @classmethod
    def of(cls, readings: Readings, chosen: Sequence[int], positive: Bool[np.ndarray, " text"] | None = None) -> Layout:
        """Of some of the sets, in their order; with other labels where they are given."""
        labels = readings.positive if positive is None else positive
        rows = [np.flatnonzero(readings.set_of == i) for i in chosen]
        width = max(map(len, rows))
        there = np.arange(width) < np.array([len(row) for row in rows])[:, None]
        text = np.stack([np.pad(row, (0, width - len(row))) for row in rows])
        part = np.where(there, readings.part[text], Part.UNUSED)
        return cls(tuple(readings.names[i] for i in chosen), text, labels[text] & there, part)

    @classmethod
    def moved(cls, readings: Readings, pairs: Sequence[tuple[int, int]]) -> Layout:
        """Of pairs of sets: what is learned on the first, and asked of all texts of the second."""
        home, away = cls.of(readings, [a for a, _ in pairs]), cls.of(readings, [b for _, b in pairs])
        own = np.where(home.part == Part.TEST, Part.UNUSED, home.part)
        there = np.arange(away.text.shape[1]) < np.array([(readings.set_of == b).sum() for _, b in pairs])[:, None]
        part = np.concatenate([own, np.where(there, Part.TEST, Part.UNUSED)], axis=1)
        text, positive = (
            np.concatenate([getattr(home, name), getattr(away, name)], axis=1) for name in ("text", "positive")
        )
        return cls(home.names, text, positive, part)

    def above(self, other: Layout) -> Layout:
        """Its sets, and those of another one of the same shape behind them."""
        text, positive, part = (
            np.concatenate([getattr(self, name), getattr(other, name)]) for name in ("text", "positive", "part")
        )
        return Layout(self.names + other.names, text, positive, part)

    def each(self) -> Iterator[Layout]:
        """One set after the other."""
        for i in range(len(self.names)):
            at = slice(i, i + 1)
            yield Layout(self.names[at], self.text[at], self.positive[at], self.part[at])

    def mask(self, *parts: Part) -> Bool[np.ndarray, "set text"]:
        return np.isin(self.part, parts)


def asked(readings: Readings) -> list[int]:
    """Sets that are learned on, each for its own sake."""
    return [i for i, one in enumerate(readings.plan.sets) if not one.apart]


def shuffled(readings: Readings) -> Bool[np.ndarray, " text"]:
    """Labels that were dealt out anew within each set: what a probe says of them is chance."""
    rng = np.random.default_rng(seed_of("labels.shuffled"))
    found = readings.positive.copy()
    for i in range(len(readings.names)):
        own = readings.set_of == i
        found[own] = rng.permutation(found[own])
    return found


def choose(latents: sparse.csr_array, layout: Layout, k: int, selection: Selection) -> Int[np.ndarray, "set k"]:
    """The k latents that tell the classes of each set best, on the texts that are learned from; the best first.

    All sets at once, by two sparse products.
    """
    learned = layout.mask(Part.TRAIN, Part.VALIDATION)
    sides = [learned & (layout.positive == own) for own in (True, False)]
    means = [_indicator(layout, side, latents.shape[0]) @ latents for side in sides]
    squares = [_indicator(layout, side, latents.shape[0]) @ latents.power(2) for side in sides]
    positive, negative = (np.asarray(mean.todense()) for mean in means)
    apart = np.abs(positive - negative)
    if selection == "deviation":
        within = sum(np.asarray(s.todense()) for s in squares) - positive**2 - negative**2
        apart = apart / np.sqrt(np.maximum(within, 0) + TINY + 1 / learned.sum(1)[:, None])
    order = np.argsort(-apart, axis=1, kind="stable")
    found: Int[np.ndarray, "set k"] = order[:, :k]
    return found


def _indicator(layout: Layout, side: Bool[np.ndarray, "set text"], texts: int) -> sparse.csr_array:
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


def on_all(gram: Gram, layout: Layout) -> Said:
    """Logistic probes on everything, of which only inner products of texts are needed; one set after the other."""
    found = []
    for one in layout.each():
        x = coordinates(gram.of(one.text[0]), one.mask(Part.TRAIN, Part.VALIDATION)[0])[0][None]
        found.append(says(x, fitted(x, one, FEW_STRENGTHS))[0])
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
    values, vectors = torch.linalg.eigh(gram[at][:, at])
    kept = values > 1e-9 * values[-1].clamp(min=1e-30)
    basis = vectors[:, kept] / values[kept].sqrt()
    return gram[:, at] @ basis, basis


def fitted(x: Float[Tensor, "set text k"], layout: Layout, strengths: Sequence[float]) -> Float[Tensor, "set k1"]:
    """Weights of the probes with the strength that is best on validation texts, fitted on these as well."""
    import torch

    y, sets = torch.from_numpy(layout.positive).double(), len(x)
    trained, validated = layout.mask(Part.TRAIN), layout.mask(Part.VALIDATION)

    def learn(at: Bool[np.ndarray, "set text"], strength: Float[Tensor, " set"]) -> Float[Tensor, "set k1"]:
        return logistic(x, y, torch.from_numpy(at).double(), strength)

    tried = [says(x, learn(trained, torch.full((sets,), c))) for c in strengths]
    # Of equals, the first: what is held back least.
    best = np.argmax([auc(p, layout.positive, validated) for p in tried], axis=0)
    return learn(trained | validated, torch.tensor(strengths)[torch.from_numpy(best)])


def says(x: Float[Tensor, "set text k"], weights: Float[Tensor, "set k1"]) -> Float[np.ndarray, "set text"]:
    """Probability of each text."""
    import torch

    logits = torch.einsum("snk,sk->sn", x, weights[:, :-1]) + weights[:, -1:]
    found: Float[np.ndarray, "set text"] = torch.sigmoid(logits).numpy()
    return found
