"""A planted reader of entities: what it answers is linear in the activation at the name, and what stands there is known."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saebench.catalogue.spec import SAESpec
from saebench.evidence.entities.asked import Asked
from saebench.evidence.entities.choosing import best_counted, by_gradient, by_probe, repeats
from saebench.evidence.entities.dense import yardsticks
from saebench.evidence.entities.facts import Facts
from saebench.evidence.entities.gradients import gradients, read_gradients
from saebench.evidence.entities.latents import read_latents
from saebench.evidence.entities.outcome import Outcome, outcome
from saebench.evidence.entities.question import Question
from saebench.saes.sae import LoadedSAE
from saebench.subject.batches import Batch

ATTRIBUTES, VALUES, ENTITIES, TEMPLATES, PAIRS = 3, 6, 72, 2, 48
D = ATTRIBUTES * VALUES
NAMES = ("country", "food", "work")


@dataclass(frozen=True, eq=False)
class Reader(Question):
    """Reads an attribute's own directions (value, d)."""

    directions: Tensor = field(default_factory=lambda: torch.zeros(0))

    def logits(self, names: Tensor, entering: Tensor, x: Tensor) -> Tensor:
        return x[:, 0] @ self.directions.T + 0.0 * names

    @property
    def batch(self) -> int:
        return 100


def rotation(d: int = D, seed: int = 0) -> Tensor:
    """(d, d) random orthonormal rows."""
    return torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(seed)))[0]


def planted(wrong: float = 0.0) -> tuple[Asked, Tensor]:
    """Entities whose activation is the sum of their values' directions (value, d), which come with it.

    The model is wrong about a share of the entities.
    """
    rng, basis = np.random.default_rng(0), rotation()
    value = rng.integers(VALUES, size=(ENTITIES, ATTRIBUTES))
    x = 3 * basis[torch.from_numpy(value + VALUES * np.arange(ATTRIBUTES))].sum(1)[:, None]
    facts = Facts("planted", dict.fromkeys(NAMES, ("{e} a", "{e} b")), {}, onward=False)
    subject: Any = type("Subject", (), {"batch": Batch(), "name": "planted"})()
    tokens = torch.arange(1)
    questions = tuple(
        Reader(subject, "", tokens, tokens, tokens, 1, directions=basis[VALUES * a : VALUES * (a + 1)])
        for a in range(ATTRIBUTES)
        for _ in range(TEMPLATES)
    )
    right = np.broadcast_to(rng.random(ENTITIES) >= wrong, (len(questions), ENTITIES)).copy()
    every = (x,) * len(questions)
    names = tuple(f"entity {number}" for number in range(ENTITIES))
    ids = (torch.arange(ENTITIES)[:, None],) * len(questions)
    return Asked(facts, names, ids, value, questions, every, every, every, right), basis


@dataclass(frozen=True)
class Along:
    """Latents that read along rows of one matrix and write along those of another; `gain` is how a latent is scaled."""

    read: Tensor
    write: Tensor
    gain: Tensor | float = 1.0

    def encode(self, x: Tensor) -> Tensor:
        return x @ self.read.T * self.gain

    def decode(self, latents: Tensor) -> Tensor:
        return latents / self.gain @ self.write


def loaded(source: Any) -> LoadedSAE:
    return LoadedSAE(SAESpec("planted", "files", ""), source, "digest", "cpu")


def measured(asked: Asked, source: Any, chosen: str = "gradient") -> Outcome:
    """What an SAE changes and leaves alone."""
    found = read_gradients(asked, gradients(asked, PAIRS))
    latents = read_latents(loaded(source), asked)
    rank = by_gradient(latents, found) if chosen == "gradient" else by_probe(latents)
    known = repeats(asked) if chosen == "probe" else np.ones(ATTRIBUTES, dtype=bool)
    return outcome(latents, best_counted(latents, rank, PAIRS), known, yardsticks(asked, found, PAIRS, steps=0), PAIRS)
