"""One rung of the ladder: real features, fakes that are like them, and what the model answered about both."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from saebench.evidence.game.fakes import covariance_mixture
from saebench.evidence.game.games import Table
from saebench.evidence.game.likeness import IMBALANCE, Traits, scale_of
from saebench.evidence.game.responses import STATISTICS, Curves, Responder, turned
from saebench.stats.statistics import Floats, seed_of

if TYPE_CHECKING:
    from torch import Tensor

ANGLES = np.radians([5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 65.0, 90.0])
SHARES = np.array([0.2, 0.4, 0.6, 0.8, 1.0])
"""Of the part's own size: at 1 it is ablated."""
REFERENCES = 24
"""Covariance mixtures whose answers at the middle step set the level that sensitivity is about."""


def middle(steps: Float[np.ndarray, " step"]) -> Float[np.ndarray, " middle"]:
    """The step at which the level is set."""
    at = len(steps) // 2
    return steps[at : at + 1]


@dataclass(frozen=True)
class Rung:
    """Answers to real features and to their fakes."""

    name: str
    sign: str
    """Which way directions are moved along: `plus` turns a feature on, `minus` an active one down."""
    real: Curves
    fake: Curves
    level: tuple[Float[np.ndarray, " prompt"], Float[np.ndarray, " prompt"]]
    """KL and distance that sensitivity is about."""
    real_id: Int[np.ndarray, "prompt slot"]
    fake_id: Int[np.ndarray, "prompt fake_slot"]
    """Feature that the fake was matched to."""
    balance: dict[str, float]
    matched: int
    candidates: int
    """Real features that were looked at for `matched` of them to be found."""

    @property
    def imbalance(self) -> str | None:
        """The worst trait, if it differs too much for the rung to count."""
        name, gap = max(self.balance.items(), key=lambda item: (np.isnan(item[1]), abs(item[1])), default=("", 0.0))
        return None if abs(gap) <= IMBALANCE else f"{name} differs by {gap:+.2f} standard deviations"

    def table(self, statistic: str = STATISTICS[0]) -> Table:
        """One of `STATISTICS` of every curve."""
        values = [side.statistic(statistic, self.level) for side in (self.real, self.fake)]
        return Table(values[0], values[1], self.real_id, self.fake_id)

    def effect(self, step: int) -> Table:
        """The KL at one step of every curve."""
        return Table(self.real.kl[:, :, step], self.fake.kl[:, :, step], self.real_id, self.fake_id)


@dataclass
class Features:
    """Directions that are said to be real, and what they do at some prompts; each is asked about once."""

    respond: Responder
    traits: Traits
    directions: Float[Tensor, "feature d"]
    """In the order in which they are tried."""
    rate: Float[np.ndarray, " feature"]
    """Share of tokens on which each is active."""
    active: Bool[np.ndarray, "prompt feature"]
    """Whether it is active at the prompt, where it is not asked about."""
    angles: Float[np.ndarray, " angle"] = field(default_factory=lambda: ANGLES)
    _known: dict[int, tuple[Floats, Floats]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.own_traits = self.traits.of(self.directions)
        self.scale = scale_of(self.own_traits[self.directions.norm(dim=1).numpy() > 0])
        self.level = self._level()

    def _level(self) -> tuple[Floats, Floats]:
        """Median answers to covariance mixtures, both ways, at the middle angle: no feature and no fake is looked at."""
        generator = torch.Generator().manual_seed(seed_of("ladder.level"))
        mixtures = covariance_mixture(self.traits.cloud, REFERENCES, generator)
        both = torch.cat([mixtures, -mixtures])
        asked = np.ones((len(self.respond.x), len(both)), dtype=bool)
        return turned(self.respond, both, asked, middle(self.angles)).at_middle()

    def curves(self, chosen: Int[np.ndarray, " slot"]) -> Curves:
        """Curves (prompt, slot) of some features."""
        missing = np.array([i for i in chosen.tolist() if i not in self._known], dtype=np.intp)
        if len(missing):
            found = turned(self.respond, self.directions[missing], ~self.active[:, missing], self.angles)
            self._known |= {i: (found.kl[:, k], found.l2[:, k]) for k, i in enumerate(missing.tolist())}
        kl, l2 = (np.stack([self._known[i][side] for i in chosen.tolist()], axis=1) for side in (0, 1))
        return Curves(self.angles, kl, l2)


@dataclass(frozen=True, eq=False)
class Pool:
    """Made-up directions to choose fakes from; those that are latents have firing rates of their own."""

    name: str
    directions: Float[Tensor, "fake d"]
    rate: Float[np.ndarray, " fake"] | None = None
    active: Bool[np.ndarray, "prompt fake"] | None = None
    _found: dict[Traits, Floats] = field(default_factory=dict, repr=False)

    def traits(self, traits: Traits) -> Float[np.ndarray, "fake trait"]:
        """(fake, trait), found once: the pools of a model serve all SAEs."""
        if traits not in self._found:
            self._found[traits] = traits.of(self.directions)
        return self._found[traits]
