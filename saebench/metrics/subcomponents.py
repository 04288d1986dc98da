"""What latents hit of each subcomponent, beside controls, and whether that is beyond chance."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from saebench.evidence.phrases.bank import HIT
from saebench.record.score import Unscored
from saebench.stats.statistics import Ints, seed_of

if TYPE_CHECKING:
    from scipy import sparse

    from saebench.evidence.phrases.bank import Bank
    from saebench.evidence.phrases.decomposed import Decomposed

LEVEL = 0.05
"""How often what is about something else may count as about a subcomponent."""
FEWEST = 8
"""Features with a latent of their own; of fewer no mean is told."""
OTHERS = 10
"""Other features whose phrases each latent is held against."""
KINDS = ("none", "partial", "all")


@dataclass(frozen=True, eq=False)
class Parts:
    """What latents hit: a row for each latent and subcomponent of the feature that it is held against."""

    bank: Bank
    hits: Float[np.ndarray, "latent phrase"]
    feature: Int[np.ndarray, " latent"]
    """(latent,) whose phrases it is held against."""
    besides: Int[np.ndarray, " latent"]
    """(latent,) another feature, whose subjects are no controls either; its own, or the same."""
    controls: sparse.csr_array
    """(phrase, phrase) weights of each phrase's controls."""

    @cached_property
    def place(self) -> tuple[Int[np.ndarray, " row"], Int[np.ndarray, " row"]]:
        """Latent and subcomponent of each row."""
        latent, part = (self.bank.feature_of_part[None] == self.feature[:, None]).nonzero()
        return latent, part

    @cached_property
    def _mean(self) -> sparse.csr_array:
        """(part, phrase) weights that add up to 1 over each subcomponent's phrases."""
        from scipy import sparse

        part = self.bank.part_of
        weight = 1 / np.bincount(part)[part]
        return sparse.csr_array((weight, (part, np.arange(len(part)))))

    @cached_property
    def _rates(self) -> Float[np.ndarray, "latent part"]:
        return np.asarray((self._mean @ self.hits.T).T)

    @cached_property
    def rate(self) -> Float[np.ndarray, " row"]:
        """(row,) share of its phrases that are hit."""
        return np.asarray(self._rates[self.place])

    @cached_property
    def control_rate(self) -> Float[np.ndarray, " row"]:
        """(row,) the same of their controls."""
        return np.asarray((self._mean @ (self.controls @ self.hits.T)).T[self.place])

    @cached_property
    def j(self) -> Float[np.ndarray, " row"]:
        return np.asarray(self.rate - self.control_rate)

    @cached_property
    def _reached(self) -> tuple[Int[np.ndarray, " row"], Int[np.ndarray, " row"]]:
        """(row,) how many subcomponents of other subjects reach its rate, and how many there are."""
        apart = self.bank.apart[self.feature] & self.bank.apart[self.besides]
        other = np.logical_and.reduceat(apart, np.flatnonzero(np.diff(self.bank.part_of, prepend=-1)), axis=1)
        latent, _ = self.place
        reached = (self._rates[latent] >= self.rate[:, None] - 1e-9) & other[latent]
        return reached.sum(axis=1), other[latent].sum(axis=1)

    @cached_property
    def p(self) -> Float[np.ndarray, " row"]:
        """(row,) how often subcomponents of other subjects reach its rate on the same latent, itself counted among them."""
        reached, count = self._reached
        return np.asarray((1 + reached) / (1 + count))

    @property
    def size(self) -> Int[np.ndarray, " latent"]:
        """(latent,) subcomponents."""
        return np.bincount(self.place[0], minlength=len(self.feature))

    def mean(self, values: Float[np.ndarray, " row"]) -> Float[np.ndarray, " latent"]:
        """(latent,) mean over its subcomponents."""
        return np.asarray(np.bincount(self.place[0], weights=values, minlength=len(self.feature)) / self.size)

    @property
    def covered(self) -> Bool[np.ndarray, " row"]:
        """(row,) whether it is hit more than subcomponents of other subjects are, but for one in twenty."""
        return np.asarray(self.p <= LEVEL)

    @property
    def anything(self) -> Bool[np.ndarray, " latent"]:
        """(latent,) whether any subcomponent is beyond chance, with as many tries as there are (Bonferroni)."""
        return np.asarray(self.mean((self.p <= LEVEL / self.size[self.place[0]]).astype(float)) > 0)

    @property
    def enough(self) -> Bool[np.ndarray, " latent"]:
        """(latent,) whether there are enough other subcomponents for one of its own to be beyond chance."""
        fewest = 1 / (1 + self._reached[1])
        return np.asarray(self.mean((fewest <= LEVEL / self.size[self.place[0]]).astype(float)) == 1)


def parts_of(found: Decomposed, above: float = HIT) -> Parts:
    """Of the SAE's latents. Raises Unscored where too few features have a latent."""
    if len(found.feature) < FEWEST:
        raise Unscored(
            f"{len(found.feature)} of {found.asked} that were asked about have both a latent and phrases: fewer than {FEWEST}"
        )
    return parts_with(found, found.own, above)


def parts_with(found: Decomposed, activation: Float[np.ndarray, "latent phrase"], above: float = HIT) -> Parts:
    """Of other latents in the place of the features' own."""
    return Parts(found.bank, (activation > above).astype(float), found.feature, found.feature, found.controls)


def others_of(found: Decomposed) -> Parts:
    """The same latents, each held against the phrases of up to ten other features: nothing that it is made of."""
    starts = np.flatnonzero(np.diff(found.bank.feature_of, prepend=-1))
    free = np.logical_and.reduceat(found.bank.apart[found.feature], starts, axis=1)
    lot = np.where(free, np.random.default_rng(seed_of("decomposability.others")).random(free.shape), np.inf)
    feature = np.argsort(lot, axis=1)[:, :OTHERS]
    latent, place = np.isfinite(np.take_along_axis(lot, feature, axis=1)).nonzero()
    if not len(latent):
        raise Unscored("the bank has no two features without a common subject")
    hits = (found.own > HIT).astype(float)[latent]
    return Parts(found.bank, hits, feature[latent, place], found.feature[latent], found.controls)


def dense_of(found: Decomposed) -> Parts | None:
    """Every dense latent held against the phrases of every feature that has a latent."""
    if not len(found.dense):
        return None
    hits = np.tile((found.dense > HIT).astype(float), (len(found.feature), 1))
    feature = np.repeat(found.feature, len(found.dense))
    return Parts(found.bank, hits, feature, feature, found.controls)


def kinds(parts: Parts) -> Int[np.ndarray, " latent"]:
    """(latent,) index in `KINDS`, by the controls' own distribution."""
    every = parts.mean(parts.covered.astype(float)) == 1
    found: Ints = np.where(parts.anything, np.where(every, 2, 1), 0)
    return found


def kinds_as_published(parts: Parts) -> Int[np.ndarray, " latent"]:
    """(latent,) index in `KINDS`, where any hit counts."""
    share = parts.mean((parts.rate > 0).astype(float))
    found: Ints = np.where(share == 0, 0, np.where(share == 1, 2, 1))
    return found
