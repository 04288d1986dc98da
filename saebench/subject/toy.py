"""A toy world in the place of a language model: it has activations, and nothing behind them."""

from typing import Any, NoReturn

import torch

from saebench.record.score import Unscored
from saebench.subject.activations import Activations
from saebench.subject.corpora import ToySamples
from saebench.subject.subject import Subject
from saebench.toy.sampling import Sample
from saebench.toy.worlds import HOOK, PREFIX, World

DOCUMENT = 64
"""Samples that make one document of a world without positions."""


class Absent:
    """What a toy has not. Whatever is asked of it has no answer."""

    def __init__(self, model: str) -> None:
        self.model = model

    def __getattr__(self, name: str) -> NoReturn:
        raise Unscored(
            f"{self.model} is no language model: it has activations and their truth, and nothing behind them"
        )


def toy_subject(world: World, device: str) -> Subject:
    """A subject whose every pass is unscored."""
    absent: Any = Absent(PREFIX + world.name)
    return Subject(PREFIX + world.name, world.digest, absent, absent, device)


def toy_activations(subject: Subject, corpus: ToySamples, sample: Sample) -> Activations:
    """Samples as documents, whose first position is none of theirs, as BOS is not, nor the last, which predicts nothing."""
    positions = corpus.world.positions if corpus.world.positions > 1 else DOCUMENT
    count = len(sample.x) // positions
    x = sample.x[: count * positions].view(count, positions, -1)
    residual = torch.nn.functional.pad(x, (0, 0, 1, 1))
    tokens = torch.zeros(residual.shape[:2], dtype=torch.long)
    length = torch.full((count,), positions + 2)
    bridge: Any = subject.bridge
    return Activations(subject, HOOK, corpus, tokens, length, residual, lambda: bridge.logits)
