"""What is trained to change one attribute and leave all others alone, whatever it is: a mask of latents, or a subspace."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from saebench.evidence.entities.asked import Asked, Part
from saebench.evidence.entities.gradients import MOST
from saebench.evidence.entities.patching import asked_in
from saebench.stats.statistics import Ints, seed_of

PAIRS = 16
"""Pairs of a step."""
Change = Callable[[float, int, Tensor, Ints, Ints], Tensor]
"""Of the share of steps that are done, a question, patched attributes (n,), bases and sources: activations (n, site, d)."""


def train(
    asked: Asked, learned: Float[Tensor, "attribute ..."], change: Change, steps: int, rate: float, purpose: str
) -> None:
    """Change `learned` in place by Adam, on pairs of training entities that are drawn anew for each step.

    The loss is the cross-entropy of the source's value where the attribute is asked for, and that of the base's value
    where others are: the multi-task objective of Huang et al. 2024 (arXiv 2402.17700).
    """
    base, source = asked.pairs(Part.TRAIN, MOST)
    rng = np.random.default_rng(seed_of(purpose))
    adam = torch.optim.Adam([learned], rate)
    for step in range(steps):
        drawn = rng.choice(len(base), min(PAIRS, len(base)), replace=False)
        adam.zero_grad()
        for attribute in range(len(asked.facts.attributes)):
            question = asked.number(attribute, step % asked.templates)
            _learn(asked, change, step / max(steps - 1, 1), question, base[drawn], source[drawn])
        adam.step()


def _learn(asked: Asked, change: Change, done: float, question: int, base: Ints, source: Ints) -> None:
    """Add the gradient of the loss on one question, asked with each attribute patched."""
    rows = list(asked_in(asked, question, base, source))
    here = np.concatenate([pairs for _, pairs in rows])
    if not len(here):
        return
    patched = torch.from_numpy(np.repeat([attribute for attribute, _ in rows], [len(pairs) for _, pairs in rows]))
    b, s = base[here], source[here]
    with torch.enable_grad():
        x = change(done, question, patched, b, s)
        logits = asked.questions[question].logits(asked.tokens[question][b], asked.entering[question][b], x)
        _loss(asked, question, patched, b, s, logits).backward()  # type: ignore[no-untyped-call]


def _loss(
    asked: Asked, question: int, patched: Tensor, base: Ints, source: Ints, logits: Float[Tensor, "n value"]
) -> Tensor:
    """Mean over what changes the answer, and over what should not, so that both count alike."""
    own = question // asked.templates
    cause = (patched == own).numpy()
    wanted = torch.from_numpy(np.where(cause, asked.value[source, own], asked.value[base, own]))
    each = cross_entropy(logits, wanted, reduction="none")
    weight = torch.from_numpy(np.where(cause, 1 / max(cause.sum(), 1), 1 / max((~cause).sum(), 1))).float()
    return (each * weight).sum()
