"""What a judge answers, whoever it is."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from saebench.judges.passages import Passages

Explanations = list[str | None]
"""One for each latent; None where the judge had none to give."""


@runtime_checkable
class Judge(Protocol):
    """Answers about many latents at once. Whoever it asks may fail: it raises OSError with one sentence, and keeps what it had."""

    @property
    def name(self) -> str:
        """Who judges, with which prompts and in which version: a part of the identity of every score."""
        ...

    def explain(self, shown: Passages) -> Explanations:
        """What makes each latent fire, in words, after texts (latent, text, position) in which it marks where it does."""
        ...

    def fires(self, explanations: Explanations, texts: Passages) -> Float[np.ndarray, "latent text"]:
        """How likely (0 to 1) what is explained fires on each of its texts; NaN where there is no answer."""
        ...

    def fits(self, explanations: Explanations, texts: Passages) -> Float[np.ndarray, "latent text"]:
        """How likely (0 to 1) the marked tokens of each text are where it fires; NaN where there is no answer."""
        ...
