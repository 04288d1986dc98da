"""Networks whose features are known: one that computes with them, and one that reads all directions alike."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saebench.evidence.game import fakes, ladder
from saebench.evidence.game.answers import POSITIVE, Lineup
from saebench.evidence.game.fakes import Cloud
from saebench.evidence.game.games import Table
from saebench.evidence.game.ladder import Parts
from saebench.evidence.game.likeness import CALIPER, Traits
from saebench.evidence.game.responses import Bools, Response
from saebench.evidence.game.rungs import Features, Pool, Rung
from saebench.metrics.distinguishability import LADDER
from saebench.record.score import Unscored
from saebench.stats.statistics import Floats

torch.set_num_threads(1)
Name = Literal["linear", "thresholded"]
D, N, K, OUT = 128, 512, 3, 96
"""Dimensions of the activation, features, features that are active at once, and dimensions of what is read off."""
TOKENS, PROMPTS, POOL, MOST = 25_000, 24, 12_000, 60
RATE = np.full(N, K / N)


@cache
def directions() -> Tensor:
    """(feature, d) unit features, at random."""
    return torch.nn.functional.normalize(torch.randn(N, D, generator=seeded(1)), dim=1)


@cache
def readout() -> Tensor:
    """(feature, out) what each feature is written to; nothing in it is about one feature more than another."""
    return torch.nn.functional.normalize(torch.randn(N, OUT, generator=seeded(5)), dim=1)


@cache
def codes() -> tuple[Tensor, Tensor]:
    """(prompt + token, part) three features active at each, at .8 to 1.2: which, and how much."""
    generator = seeded(3)
    chosen = torch.cat([torch.rand(1000, N, generator=generator).topk(K).indices for _ in range(TOKENS // 1000 + 1)])
    return chosen, 0.8 + 0.4 * torch.rand(chosen.shape, generator=generator)


@cache
def contributions() -> Tensor:
    """(prompt + token, part, d) which sum up to the activations."""
    chosen, levels = codes()
    return levels[:, :, None] * directions()[chosen]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def x() -> Tensor:
    """(prompt, d)"""
    return contributions()[:PROMPTS].sum(dim=1)


@cache
def cloud() -> Cloud:
    """Activations that none of the prompts is among. With few, fakes would fit their covariance's noise."""
    return Cloud(contributions()[1000:].sum(dim=1))


@cache
def traits() -> Traits:
    return Traits(cloud(), torch.eye(D))


@cache
def active() -> Bools:
    """(prompt, feature)"""
    found = np.zeros((PROMPTS, N), dtype=bool)
    np.put_along_axis(found, part_ids(), True, axis=1)
    return found


def part_ids() -> NDArray[np.intp]:
    """(prompt, part) features that are active."""
    found: NDArray[np.intp] = codes()[0][:PROMPTS].numpy()
    return found


def linear(points: Tensor) -> Tensor:
    """Reads every direction alike, so that no feature is more of one than any other direction."""
    return (points @ directions().T) @ readout()


def thresholded(points: Tensor) -> Tensor:
    """Corrects errors: what is below .5 of a feature is off, what is at 1 is on, and all else is forgotten."""
    return (2 * (points @ directions().T - 0.5)).clamp(0, 1) @ readout()


@dataclass
class Network:
    """Answers with the distance between outputs, and with its square in place of a KL."""

    read: Callable[[Tensor], Tensor]
    x: Tensor = field(default_factory=x)
    batch: int = 10**9
    asked: int = 0
    """Points so far."""

    def __call__(self, prompt: int, points: Tensor, centre: Tensor | None = None) -> Response:
        self.asked += len(points)
        before = self.read((self.x[prompt] if centre is None else centre)[None])
        moved = torch.cat([self.read(part) for part in torch.split(points, self.batch)])
        distance = (moved - before).norm(dim=1)
        return Response(distance**2, distance)


def network(name: Name) -> Network:
    return Network(linear if name == "linear" else thresholded)


# Features, and directions that are none


@cache
def features(name: Name) -> Features:
    """All of a network's own features."""
    return Features(network(name), traits(), directions(), RATE, active())


@cache
def mixtures(seed: int = 10) -> Tensor:
    return fakes.covariance_mixture(cloud(), POOL, seeded(seed))


@cache
def pool(name: str) -> Pool:
    generator = seeded(11)
    if name in ("halves", "features"):
        rows = slice(1, None, 2) if name == "halves" else slice(None)
        return Pool(name, directions()[rows], RATE[rows], active()[:, rows])
    makers: dict[str, Callable[[], Tensor]] = {
        "isotropic": lambda: fakes.isotropic(cloud(), POOL, generator),
        "rotated_dictionary": lambda: fakes.rotated_dictionary(directions(), generator),
        "covariance_mixture": mixtures,
        "real_mixture": lambda: fakes.real_mixture(cloud(), POOL, generator),
        "sum_of_two": lambda: fakes.sums_of_two(directions(), POOL, generator),
    }
    return Pool(name, makers[name]())


@cache
def rung(name: Name, fake: str, caliper: float = CALIPER) -> Rung:
    """A network's own features against one sort of fakes."""
    return ladder.climb(features(name), pool(fake), MOST, caliper)


def dictionary(share: float) -> Features:
    """Of the thresholded network: this share of directions are features, spread evenly, the rest mixtures."""
    real = np.diff(np.floor(np.arange(N + 1) * share)) > 0
    rows = torch.where(torch.from_numpy(real)[:, None], directions(), mixtures(12)[:N])
    return Features(network("thresholded"), traits(), rows, RATE, active() & real)


def shuffled(seed: int = 13) -> Features:
    """The same numbers in every dimension, each at another feature: what a dictionary's training would find in noise."""
    order = torch.rand(N, D, generator=seeded(seed)).argsort(dim=0)
    return Features(network("thresholded"), traits(), directions().gather(0, order), RATE, np.zeros_like(active()))


# Parts


@cache
def parts(name: Name) -> Parts:
    return Parts(network(name), traits(), contributions()[:PROMPTS], part_ids())


@cache
def decomposed(name: Name) -> Rung:
    return parts(name).decomposed("whitened_decomposition", partial(fakes.whitened_decompositions, cloud()))


# Scores


def lineup(name: Name, **changed: Rung | Unscored) -> Lineup:
    """Three of the strict rungs, with some rungs changed; there is no other SAE to be trained."""
    rungs: dict[str, Rung | Unscored] = {each: Unscored("not here") for each in LADDER}
    rungs |= {each: rung(name, each) for each in ("covariance_mixture", "real_mixture")}
    rungs["whitened_decomposition"] = decomposed(name)
    ones = np.ones(PROMPTS)
    return Lineup(
        rungs | changed, {POSITIVE[0]: rung("thresholded", "covariance_mixture")}, ones, ones, 0.1, (ones, ones)
    )


def point(table: Table) -> float:
    """AUC, with a loop over prompts and no library."""
    each = [
        won(real[np.isfinite(real)], fake[np.isfinite(fake)]) for real, fake in zip(table.real, table.fake, strict=True)
    ]
    return float(np.nanmean(each))


def won(real: Floats, fake: Floats) -> float:
    """Share of pairs of which the real one is higher; a tie is half of one."""
    if not len(real) or not len(fake):
        return float("nan")
    gap = real[:, None] - fake
    return float(((gap > 0) + 0.5 * (gap == 0)).mean())
