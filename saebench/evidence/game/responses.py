"""Response curves: a model's answers to one activation, moved along many directions, by many steps."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from saebench.evidence.game import curves, moves
from saebench.record.stages import progress
from saebench.stats.statistics import Bools, Floats

if TYPE_CHECKING:
    from torch import Tensor

STATISTICS = ("sensitivity", "sensitivity_l2", *curves.SHAPES)
"""Higher for what a model computes with, if there is such a thing; the first is the one that scores are of."""


@dataclass(frozen=True)
class Response:
    """How far the model's answer is from that to the activation as it was."""

    kl: Float[Tensor, " point"]
    """KL(clean || moved) of the next-token distribution in nats."""
    l2: Float[Tensor, " point"]
    """Distance at a later layer."""


@runtime_checkable
class Responder(Protocol):
    """Anything that answers to moved activations: a language model, or a planted network in a test."""

    x: Float[Tensor, "prompt d"]
    """Activations as they were."""

    def __call__(
        self, prompt: int, points: Float[Tensor, "point d"], centre: Float[Tensor, " d"] | None = None
    ) -> Response:
        """Answers to points (point, d) in place of the prompt's activation, or of another `centre` (d,)."""
        ...


@dataclass(frozen=True)
class Curves:
    """Answers, NaN where nothing was asked; a slot is a direction at a prompt."""

    steps: Float[np.ndarray, " step"]
    """Angles in radians, or shares of a step's full size."""
    kl: Float[np.ndarray, "prompt slot step"]
    l2: Float[np.ndarray, "prompt slot step"]

    def at_middle(self) -> tuple[Float[np.ndarray, " prompt"], Float[np.ndarray, " prompt"]]:
        """(prompt,) median KL and distance at the middle step, over slots."""
        middle = len(self.steps) // 2
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # prompts without answers
            kl, l2 = (np.nanmedian(each[..., middle], axis=1) for each in (self.kl, self.l2))
        return kl, l2

    def statistic(
        self, name: str, level: tuple[Float[np.ndarray, " prompt"], Float[np.ndarray, " prompt"]]
    ) -> Float[np.ndarray, "prompt slot"]:
        """(prompt, slot) one of `STATISTICS`; `level` (prompt,) of KL and distance is what sensitivity is about."""
        if name in curves.SHAPES:
            return curves.SHAPES[name](self.steps, self.kl)
        response, wanted = (self.l2, level[1]) if name == "sensitivity_l2" else (self.kl, level[0])
        return curves.sensitivity(self.steps, response, np.broadcast_to(wanted[:, None], self.kl.shape[:2]))

    def slots(self, chosen: Int[np.ndarray, " chosen"]) -> Curves:
        """The same of some slots."""
        return Curves(self.steps, self.kl[:, chosen], self.l2[:, chosen])

    def only(self, asked: Bool[np.ndarray, "prompt slot"]) -> Curves:
        """The same with nothing known of slots (prompt, slot) that are not asked about."""
        kl, l2 = (np.where(asked[:, :, None], side, np.nan) for side in (self.kl, self.l2))
        return Curves(self.steps, kl, l2)


def turned(
    respond: Responder,
    directions: Float[Tensor, "slot d"] | Float[Tensor, "prompt slot d"],
    asked: Bool[np.ndarray, "prompt slot"],
    angles: Float[np.ndarray, " angle"],
) -> Curves:
    """Curves over rotations towards directions (slot, d), or (prompt, slot, d) where each prompt has its own."""
    import torch

    steps = torch.from_numpy(angles).float()

    def points(prompt: int, rows: Tensor) -> Tensor:
        own = (directions if directions.ndim == 2 else directions[prompt])[rows]
        return moves.rotated(respond.x[prompt], own, steps)

    return _answers(respond, asked, angles, points)


def stepped(
    respond: Responder,
    directions: Float[Tensor, "prompt slot d"],
    sizes: Float[Tensor, "prompt slot"],
    asked: Bool[np.ndarray, "prompt slot"],
    shares: Float[np.ndarray, " share"],
) -> Curves:
    """Curves over steps of shares of sizes (prompt, slot) along directions (prompt, slot, d); negative sizes go back."""
    import torch

    steps = torch.from_numpy(shares).float()

    def points(prompt: int, rows: Tensor) -> Tensor:
        return moves.stepped(respond.x[prompt], directions[prompt][rows], sizes[prompt][rows][:, None] * steps)

    return _answers(respond, asked, shares, points)


def _answers(respond: Responder, asked: Bools, steps: Floats, points: Callable[[int, Tensor], Tensor]) -> Curves:
    import torch

    kl, l2 = (np.full((*asked.shape, len(steps)), np.nan) for _ in range(2))
    for prompt in np.flatnonzero(asked.any(axis=1)).tolist():
        progress(prompt, len(asked))
        rows = np.flatnonzero(asked[prompt])
        moved = points(prompt, torch.from_numpy(rows))
        answer = respond(prompt, moved.flatten(0, 1))
        kl[prompt, rows] = answer.kl.view(moved.shape[:2]).double().numpy()
        l2[prompt, rows] = answer.l2.view(moved.shape[:2]).double().numpy()
    return Curves(steps, kl, l2)
