"""What does not depend on an SAE, through the cache: gradients, and what whole activations and linear maps reach."""

from functools import partial

import torch

from saebench.evidence.entities.asked import Asked, inputs_of
from saebench.evidence.entities.dense import yardsticks
from saebench.evidence.entities.gradients import Gradients, gradients, read_gradients
from saebench.evidence.entities.patching import Sums
from saebench.subject.cache import Cache, Inputs, Tensors
from saebench.subject.subject import Subject

VERSION = 2
"""Of how bounds are found: another one where they would change."""


def bounds(
    asked: Asked, subject: Subject, hook: str, out: str, most: int, steps: int, cache: Cache
) -> tuple[Gradients, dict[str, Sums]]:
    """Gradients at up to `most` pairs of training entities, and sums on as many of test entities.

    With `steps` of training, the dense method is trained.
    """
    inputs: Inputs = {**inputs_of(subject, asked.facts, hook, out), "pairs": most, "bounds": VERSION}
    found = read_gradients(asked, cache.get({**inputs, "what": "gradients"}, partial(gradients, asked, most)))
    kept = cache.get({**inputs, "what": "sums", "steps": steps}, partial(_sums, asked, found, most, steps))
    named = {key: value.numpy() for key, value in kept.items()}
    kinds = sorted({key.partition(".")[0] for key in named})
    return found, {
        kind: {key.partition(".")[2]: value for key, value in named.items() if key.startswith(f"{kind}.")}
        for kind in kinds
    }


def _sums(asked: Asked, found: Gradients, most: int, steps: int) -> Tensors:
    made = yardsticks(asked, found, most, steps)
    return {f"{kind}.{name}": torch.from_numpy(value) for kind, sums in made.items() for name, value in sums.items()}
