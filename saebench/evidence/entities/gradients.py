"""How the model's answer would change with the activations: gradients, which serve every SAE of a place."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.evidence.entities.asked import Asked, Part
from saebench.stats.statistics import Ints
from saebench.subject.cache import Tensors

STEPS = (0.25, 0.75)
"""Where between base and source gradients are taken: the midpoints of two halves of the way."""
MOST = 256
"""Pairs of training entities, of which there are four times as many as of others: more than these say little more."""


@dataclass(frozen=True, eq=False)
class Gradients:
    """Of pairs of training entities, per question."""

    base: tuple[Int[np.ndarray, " _"], ...]
    source: tuple[Int[np.ndarray, " _"], ...]
    slope: tuple[Float[Tensor, "_ _ d"], ...]
    """Gradient of the logit of the source's value minus that of the base's, mean over the way from base to source."""


def gradients(asked: Asked, most: int) -> Tensors:
    """What `Gradients` are read from: by the question's number, base, source and slope of pairs that count."""
    base, source = asked.pairs(Part.TRAIN, min(4 * most, MOST))
    found: Tensors = {}
    for question in range(len(asked.questions)):
        usable = asked.usable(question, base, source)
        b, s = base[usable], source[usable]
        found |= {f"{question}.base": torch.from_numpy(b), f"{question}.source": torch.from_numpy(s)}
        found[f"{question}.slope"] = torch.stack([_slope(asked, question, b, s, step) for step in STEPS]).mean(0)
    return found


def read_gradients(asked: Asked, found: Tensors) -> Gradients:
    numbers = range(len(asked.questions))
    base, source = (tuple(found[f"{q}.{name}"].numpy() for q in numbers) for name in ("base", "source"))
    return Gradients(base, source, tuple(found[f"{q}.slope"] for q in numbers))


def margin(logits: Float[Tensor, "n value"], base: Int[Tensor, " n"], source: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Logit of one value minus that of another."""
    return logits.gather(1, source[:, None])[:, 0] - logits.gather(1, base[:, None])[:, 0]


def _slope(asked: Asked, question: int, base: Ints, source: Ints, step: float) -> Tensor:
    x, value = asked.target[question], torch.from_numpy(asked.value[:, question // asked.templates])
    own = x[base]

    def part(rows: slice) -> Tensor:
        b, s = base[rows], source[rows]
        with torch.enable_grad():
            at = (x[b] + step * (x[s] - x[b])).requires_grad_()
            logits = asked.questions[question].logits(asked.tokens[question][b], asked.entering[question][b], at)
            return torch.autograd.grad(margin(logits, value[b], value[s]).sum(), at)[0]

    batch = asked.questions[question].subject.batch
    return (
        torch.cat(batch.over(len(base), part, asked.questions[question].batch)) if len(base) else torch.zeros_like(own)
    )
