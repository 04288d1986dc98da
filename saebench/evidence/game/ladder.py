"""Rungs of the ladder of fakes: real features against fakes that are matched to them, at the same prompts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from saebench.evidence.game.fakes import covariance_mixture
from saebench.evidence.game.likeness import CALIPER, NAMES, Traits, balance, match, scale_of
from saebench.evidence.game.responses import Curves, Responder, stepped, turned
from saebench.evidence.game.rungs import SHARES, Features, Pool, Rung, middle
from saebench.record.score import Unscored
from saebench.stats.statistics import Bools, Floats, seed_of

if TYPE_CHECKING:
    from torch import Tensor

Decompose = Callable[["Tensor", torch.Generator, int], "Tensor"]
"""Parts (part, d) to n sets of other parts (n, part, d) with the same sum."""
FEWEST_FEATURES = 15
"""Features of a rung; with fewer an interval means nothing."""
TRIES, NEAREST = 64, 16
"""Decompositions that are drawn of each sum, and of their parts those nearest to the real ones."""
RATE = "log firing rate"


def climb(features: Features, pool: Pool, most: int, caliper: float = CALIPER) -> Rung:
    """Match fakes to up to `most` features and ask the model about both.

    A fake without a firing rate of its own gets that of its feature: it counts as active where its projection is among
    that share of the largest. Where fewer than `FEWEST_FEATURES` pairs are found, rows are paired as they come, and the balance
    tells. Raises Unscored where there are fewer features or fakes than that.
    """
    names: tuple[str, ...] = NAMES
    real, fake, scale = features.own_traits, pool.traits(features.traits), features.scale
    if pool.rate is not None:
        names = (*NAMES, RATE)
        real, fake = (np.column_stack([t, _log(r)]) for t, r in ((real, features.rate), (fake, pool.rate)))
        scale = scale_of(real)
    if min(len(real), len(fake)) < FEWEST_FEATURES:
        raise Unscored(
            f"there are {len(real)} features and {len(fake)} fakes, and {FEWEST_FEATURES} of each are needed"
        )
    pairs = match(real, fake, scale, most, caliper)
    pairs = pairs if len(pairs) >= FEWEST_FEATURES else match(real, fake, scale, most, np.inf)
    chosen, taken = pairs[:, 0], pairs[:, 1]
    directions = pool.directions[taken]
    active = active_at(features, directions, features.rate[chosen]) if pool.active is None else pool.active[:, taken]
    answers = turned(features.respond, directions, ~active, features.angles)
    ids = np.broadcast_to(chosen, answers.kl.shape[:2])
    found = balance(real[chosen], fake[taken], scale, names)
    tried = int(chosen.max()) + 1
    real_curves = features.curves(chosen)
    return Rung(pool.name, "plus", real_curves, answers, features.level, ids, ids, found, len(pairs), tried)


def _log(rate: Floats) -> Floats:
    return np.asarray(np.log(np.maximum(rate, 1e-6)))


def active_at(
    features: Features, directions: Float[Tensor, "direction d"], rate: Float[np.ndarray, " direction"]
) -> Bool[np.ndarray, "prompt direction"]:
    """(prompt, direction) whether a projection is among the share `rate` of the largest in the cloud."""
    cloud = features.traits.cloud
    projected = ((cloud.x - cloud.mean) @ directions.T).sort(dim=0).values
    at = np.clip(np.ceil((1 - rate) * len(projected)).astype(int) - 1, 0, len(projected) - 1)
    threshold = projected[torch.from_numpy(at), torch.arange(len(rate))]
    found: Bools = ((features.respond.x - cloud.mean) @ directions.T > threshold).numpy()
    return found


def climb_per_prompt(
    features: Features, name: str, pools: Float[Tensor, "prompt fake d"], chosen: Int[np.ndarray, " slot"]
) -> Rung:
    """Some features against fakes (prompt, fake, d) that depend on the activation which they are added to.

    Where nothing is like the features at a prompt, fakes are taken as they come, and the balance tells.
    """
    if len(chosen) < FEWEST_FEATURES:
        raise Unscored(f"there are {len(chosen)} features, and {FEWEST_FEATURES} are needed")
    real = features.own_traits[chosen]
    directions, asked = torch.zeros(len(pools), len(chosen), pools.shape[2]), np.zeros((len(pools), len(chosen)), bool)
    for prompt, pool in enumerate(pools):
        fake = features.traits.of(pool)
        pairs = match(real, fake, features.scale, len(chosen))
        pairs = pairs if len(pairs) else match(real, fake, features.scale, len(chosen), np.inf)
        directions[prompt, pairs[:, 0]], asked[prompt, pairs[:, 0]] = pool[pairs[:, 1]], True
    made = features.traits.of(directions[torch.from_numpy(asked)])
    gap = balance(real[np.nonzero(asked)[1]], made, features.scale)
    answers = turned(features.respond, directions, asked, features.angles)
    ids, matched = np.broadcast_to(chosen, asked.shape), int(asked.any(axis=0).sum())
    curves = features.curves(chosen).only(asked)
    return Rung(name, "plus", curves, answers, features.level, ids, ids, gap, matched, len(chosen))


def against_one(
    features: Features, name: str, directions: Float[Tensor, "prompt d"], chosen: Int[np.ndarray, " slot"]
) -> Rung:
    """Some features against one direction (prompt, d) per prompt, which no choice can make more like them."""
    prompts = len(directions)
    answers = turned(features.respond, directions[:, None], np.ones((prompts, 1), bool), features.angles)
    gap = balance(features.own_traits[chosen], features.traits.of(directions), features.scale)
    ids = np.broadcast_to(chosen, (prompts, len(chosen)))
    fake_ids = len(features.directions) + np.arange(prompts)[:, None]
    curves = features.curves(chosen)
    return Rung(name, "plus", curves, answers, features.level, ids, fake_ids, gap, len(chosen), len(chosen))


def halves(rung: Rung) -> Rung:
    """Every other feature of a rung against the rest: what the game says where there is nothing to tell."""
    sides = [(rung.real.slots(np.arange(i, rung.real.kl.shape[1], 2)), rung.real_id[:, i::2]) for i in (0, 1)]
    (even, even_id), (odd, odd_id) = sides
    return Rung("halves", rung.sign, even, odd, rung.level, even_id, odd_id, {}, rung.matched // 2, rung.candidates)


@dataclass
class Parts:
    """What some active features contribute to the activation of each prompt."""

    respond: Responder
    traits: Traits
    parts: Float[Tensor, "prompt part d"]
    ids: Int[np.ndarray, "prompt part"]
    """Feature that each part belongs to."""
    shares: Float[np.ndarray, " share"] = field(default_factory=lambda: SHARES)

    def __post_init__(self) -> None:
        self.own_traits = self.traits.of(self.parts.flatten(0, 1))
        self.scale = scale_of(self.own_traits[self.parts.flatten(0, 1).norm(dim=1).numpy() > 0])
        self.everywhere = np.ones(self.ids.shape, dtype=bool)
        self.answers = self.stepped(self.parts, self.everywhere)
        self.level = self._level()

    def stepped(self, directions: Float[Tensor, "prompt part d"], asked: Bool[np.ndarray, "prompt part"]) -> Curves:
        """Curves over steps against directions (prompt, part, d), as large as the parts."""
        return stepped(self.respond, directions, -self.parts.norm(dim=2), asked, self.shares)

    def _level(self) -> tuple[Floats, Floats]:
        generator = torch.Generator().manual_seed(seed_of("ladder.level"))
        mixtures = covariance_mixture(self.traits.cloud, self.ids.size, generator).view(self.parts.shape)
        both, sizes = torch.cat([mixtures, -mixtures], dim=1), self.parts.norm(dim=2).repeat(1, 2)
        asked = np.ones(sizes.shape, dtype=bool)
        return stepped(self.respond, both, sizes, asked, middle(self.shares)).at_middle()

    def against(
        self, name: str, fakes: Float[Tensor, "prompt part d"], asked: Bool[np.ndarray, "prompt part"] | None = None
    ) -> Rung:
        """The parts against fakes (prompt, part, d) in their place, of all or some of them."""
        asked = self.everywhere if asked is None else asked
        count = len(np.unique(self.ids[asked]))
        if count < FEWEST_FEATURES:
            raise Unscored(f"there are parts of {count} features, and {FEWEST_FEATURES} are needed")
        gap = balance(self.own_traits[asked.ravel()], self.traits.of(fakes[torch.from_numpy(asked)]), self.scale)
        real, made = self.answers.only(asked), self.stepped(fakes, asked)
        return Rung(name, "minus", real, made, self.level, self.ids, self.ids, gap, count, len(np.unique(self.ids)))

    def decomposed(self, name: str, decompose: Decompose, tries: int = TRIES) -> Rung:
        """The parts against other parts with the same sum.

        Of some decompositions per prompt the few that are most like the real parts are kept, and of those the one
        that brings the rung closest to balance.
        """
        generator, gap = torch.Generator().manual_seed(seed_of(f"ladder.{name}")), np.zeros(len(self.scale))
        chosen = []
        for own in self.parts:
            made = decompose(own, generator, tries)
            traits = self.traits.of(made.flatten(0, 1)).reshape(tries, len(own), -1)
            apart = (traits - self.traits.of(own)) / self.scale
            best = np.abs(apart).mean(axis=1).max(axis=1).argsort(kind="stable")[:NEAREST]
            at = best[np.abs(gap + apart[best].sum(axis=1)).max(axis=1).argmin()]
            gap += apart[at].sum(axis=0)
            chosen.append(made[int(at)])
        return self.against(name, torch.stack(chosen))

    def mixed(self, name: str, pool: Pool) -> Rung:
        """The parts against directions of a pool that are matched to them one by one."""
        pairs = match(self.own_traits, pool.traits(self.traits), self.scale, self.ids.size)
        if len(pairs) < FEWEST_FEATURES:
            raise Unscored(
                f"of {self.ids.size} active parts {len(pairs)} have a fake like them: fewer than {FEWEST_FEATURES}"
            )
        fakes, asked = torch.zeros(self.ids.size, self.parts.shape[2]), np.zeros(self.ids.size, dtype=bool)
        fakes[pairs[:, 0]], asked[pairs[:, 0]] = pool.directions[pairs[:, 1]], True
        return self.against(name, fakes.view(self.parts.shape), asked.reshape(self.ids.shape))
