"""What is added to activations to make a model forget: latents clamped below zero, and one dense direction likewise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.evidence.unlearning.asked import Asked
from saebench.evidence.unlearning.latents import COUNTS, RARE, STRONG, Firing
from saebench.record.score import Unscored
from saebench.saes.sae import LoadedSAE
from saebench.stats.statistics import Ints, seed_of

STRENGTHS = (1.0, 2.0, 4.0)
"""An active latent is clamped to minus so many of its units."""
DECODED = 512
"""Tokens that are decoded at a time."""


@dataclass(frozen=True, order=True)
class Setting:
    """One way to clamp; the gentlest comes first."""

    strength: float
    count: int
    rare: float


GRID = tuple(sorted(Setting(strength, count, rare) for strength in STRENGTHS for count in COUNTS for rare in RARE))
"""Eighteen; the published score is the best of sixteen."""


@runtime_checkable
class Edit(Protocol):
    """Something that can be clamped in several ways."""

    @property
    def settings(self) -> Sequence[Setting]: ...
    def delta(self, rows: Int[np.ndarray, " n"], setting: Setting) -> Float[Tensor, "n position d_out"]: ...


@dataclass(frozen=True)
class Clamped:
    """Latents of an SAE: where one is active, it is set to minus some of its units. The SAE's error is kept."""

    sae: LoadedSAE
    asked: Asked
    firing: Firing
    lists: dict[float, Int[np.ndarray, " _"]]
    """By threshold, latents in the order in which they are clamped."""
    latents: Int[np.ndarray, " chosen"]
    """All of them, each once, in ascending order."""
    values: Float[Tensor, "row position chosen"]
    """How active each is at the questions, on its positive side; 0 where it is not."""
    scrambled: Float[Tensor, "chosen d_out"] | None = None
    """Directions that are written along in place of the latents' own."""

    @property
    def settings(self) -> Sequence[Setting]:
        """Those that differ: with fewer latents than are to be clamped, more are the same."""
        kept: dict[tuple[float, tuple[int, ...]], Setting] = {}
        for setting in GRID:
            kept.setdefault((setting.strength, tuple(self._columns(setting).tolist())), setting)
        return [setting for (_, columns), setting in kept.items() if columns]

    def _columns(self, setting: Setting) -> Ints:
        return np.searchsorted(self.latents, np.sort(self.lists[setting.rare][: setting.count]))

    def delta(self, rows: Int[np.ndarray, " n"], setting: Setting) -> Float[Tensor, "n position d_out"]:
        columns = self._columns(setting)
        value, latents = self.values[torch.from_numpy(rows)][..., torch.from_numpy(columns)], self.latents[columns]
        clamped = -setting.strength * torch.from_numpy(self.firing.unit[latents]).float()
        moved = torch.where(value > 0, clamped - value, 0.0)
        at = (value > 0).any(-1)
        added = torch.zeros(*value.shape[:2], self.asked.target.shape[-1])
        if self.scrambled is not None:
            added[at] = moved[at] @ self.scrambled[torch.from_numpy(columns)]
        elif at.any():
            side = torch.from_numpy(self.firing.side[latents]).float()
            added[at] = written(self.sae, latents, moved[at] * side, self.asked.x[torch.from_numpy(rows)][at])
        return added


def written(
    sae: LoadedSAE,
    latents: Int[np.ndarray, " chosen"],
    values: Float[Tensor, "token chosen"],
    x: Float[Tensor, "token d"],
) -> Float[Tensor, "token d_out"]:
    """What so much of some latents adds to the reconstruction of activations, as the SAE decodes it there."""
    width, parts = sae.encode(x[:1].to(sae.device)).shape[-1], []
    for start in range(0, len(x), DECODED):
        some, there = values[start : start + DECODED].to(sae.device), x[start : start + DECODED].to(sae.device)
        whole = torch.zeros(len(some), width, device=sae.device)
        nothing = sae.decode(whole, there)
        whole[:, torch.from_numpy(latents).to(sae.device)] = some
        parts.append((sae.decode(whole, there) - nothing).float().cpu())
    return torch.cat(parts)


def clamped(sae: LoadedSAE, asked: Asked, firing: Firing, *each: dict[float, Ints]) -> list[Clamped]:
    """Several edits of one SAE, each by lists of latents: all of them are read at the questions at once."""
    latents = np.unique(np.concatenate([some for lists in each for some in lists.values()]))
    side = torch.from_numpy(firing.side[latents]).float()
    columns = torch.from_numpy(latents)

    def read(at: slice) -> Tensor:
        x = asked.x[at].to(sae.device)
        found = sae.encode(x.flatten(0, 1))[:, columns.to(sae.device)].float().cpu()
        return (found * side).clamp(min=0).view(*x.shape[:2], -1)

    values = torch.cat(asked.passes.subject.batch.over(len(asked.x), read))
    return [Clamped(sae=sae, asked=asked, firing=firing, lists=of, latents=latents, values=values) for of in each]


def scrambled(own: Clamped) -> Clamped:
    """The same latents, clamped at the same tokens, each writing along a random direction as strongly as its own."""
    one = torch.eye(len(own.latents))
    x = own.asked.x[:1, 1].expand(len(one), -1)
    side = torch.from_numpy(own.firing.side[own.latents]).float()
    rows = written(own.sae, own.latents, one * side, x)
    draw = torch.Generator().manual_seed(seed_of("unlearning.scrambled"))
    random = torch.nn.functional.normalize(torch.randn(rows.shape, generator=draw), dim=1)
    return replace(own, scrambled=random * rows.norm(dim=1, keepdim=True))


@dataclass(frozen=True)
class Dense:
    """One direction, the difference of means of texts of the topic and of all others, clamped as a latent is."""

    asked: Asked
    direction: Float[Tensor, " d_out"]
    offset: float
    """What is read of the mean of other texts."""
    threshold: dict[float, float]
    """What is read must exceed this, to be active on so small a share of other texts' tokens."""
    unit: dict[float, float]
    settings: Sequence[Setting] = field(default=tuple(s for s in GRID if s.count == COUNTS[0]))

    def delta(self, rows: Int[np.ndarray, " n"], setting: Setting) -> Float[Tensor, "n position d_out"]:
        read = self.asked.target[torch.from_numpy(rows)] @ self.direction - self.offset
        moved = torch.where(
            read > self.threshold[setting.rare], -setting.strength * self.unit[setting.rare] - read, 0.0
        )
        return moved[..., None] * self.direction


def dense(asked: Asked, forget: Float[Tensor, "token d_out"], retain: Float[Tensor, "token d_out"]) -> Dense:
    """Of activations on texts of the topic and on all others. Raises Unscored where their means are the same."""
    difference = forget.double().mean(0) - retain.double().mean(0)
    if not difference.norm() > 0:
        raise Unscored("activations are the same on average on the topic's texts and on all others")
    direction = (difference / difference.norm()).float()
    offset = float(retain.double().mean(0) @ direction.double())
    of_forget, of_retain = ((x @ direction - offset).double().numpy() for x in (forget, retain))
    threshold = {rare: max(float(np.quantile(of_retain, 1 - rare)), 0.0) for rare in RARE}
    active = {rare: of_forget[of_forget > least] for rare, least in threshold.items()}
    unit = {rare: float(np.quantile(read, STRONG)) if len(read) else 0.0 for rare, read in active.items()}
    return Dense(asked=asked, direction=direction, offset=offset, threshold=threshold, unit=unit)
