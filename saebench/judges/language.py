"""Language models as judges, after Paulo et al. (arXiv 2410.13928): the same prompts for all of them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from saebench.judges.judge import Explanations
from saebench.judges.passages import Passages
from saebench.judges.prompts import Prompt, choose, explain, explain_briefly, weigh, write
from saebench.judges.speaker import Speaker

WRITTEN = 5
"""Texts that are written like a latent's."""
BRIEF, AROUND = 10, (4, 1)
"""How many of the texts a small model is shown, and how many tokens before and behind what is marked."""


@dataclass(frozen=True)
class Language:
    """One that weighs is asked about each text, how likely it would have explained it so; others, about all texts of a latent at once."""

    speaker: Speaker

    @property
    def name(self) -> str:
        return self.speaker.judge

    def explain(self, shown: Passages) -> Explanations:
        """A short phrase for each latent; None where the judge has none. What weighs is small, and shown less."""
        prompts = (
            [explain_briefly(texts[:BRIEF]) for texts in shown.near(*AROUND).with_marks()]
            if self.speaker.weighs
            else [explain(texts) for texts in shown.with_marks()]
        )
        found: Explanations = self.speaker.ask(prompts)
        return found

    def fires(self, explanations: Explanations, texts: Passages) -> Float[np.ndarray, "latent text"]:
        """Where texts are weighed, yes is what lies above the mean of the texts of the same explanation."""
        return self._judged(explanations, texts.plain(), marked=False)

    def fits(self, explanations: Explanations, texts: Passages) -> Float[np.ndarray, "latent text"]:
        shown = texts.near(*AROUND) if self.speaker.weighs else texts
        return self._judged(explanations, shown.with_marks(), marked=True)

    def write(self, shown: Passages) -> list[list[str] | None]:
        """New texts like those of each latent; None where the judge writes none."""
        found: list[list[str] | None] = self.speaker.ask([write(texts, WRITTEN) for texts in shown.with_marks()])
        return found

    def _judged(self, explanations: Explanations, texts: list[list[str]], *, marked: bool) -> NDArray[np.float64]:
        asked = [(said, each) for said, each in zip(explanations, texts, strict=True) if said is not None]
        found = np.full((len(texts), len(texts[0])), np.nan)
        has = np.array([said is not None for said in explanations], dtype=bool)
        found[has] = self._weighed(asked, marked) if self.speaker.weighs else self._chosen(asked, marked)
        return found

    def _weighed(self, asked: list[tuple[str, list[str]]], marked: bool) -> NDArray[np.float64]:
        """1 / (1 + exp(-x)) of how much more x speaks for a text than for the others of its explanation."""
        prompts = [weigh(said, text, marked=marked) for said, texts in asked for text in texts]
        answers = [np.nan if answer is None else answer for answer in self.speaker.ask(prompts)]
        nats = np.array(answers, dtype=np.float64).reshape(len(asked), -1)
        return np.asarray(1 / (1 + np.exp(nats.mean(axis=1, keepdims=True) - nats)))

    def _chosen(self, asked: list[tuple[str, list[str]]], marked: bool) -> NDArray[np.float64]:
        prompts: list[Prompt] = [choose(said, texts, marked=marked) for said, texts in asked]
        return np.array([
            [np.nan] * len(texts) if numbers is None else [float(at in numbers) for at in range(1, len(texts) + 1)]
            for (_, texts), numbers in zip(asked, self.speaker.ask(prompts), strict=True)
        ], dtype=np.float64).reshape(len(asked), -1)  # fmt: skip
