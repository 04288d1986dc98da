"""What a judge says of latents' explanations, beside the truth."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

from saebench.evidence.examples import Examples
from saebench.evidence.windows import Windows, fired
from saebench.judges.exact import Exact
from saebench.judges.judge import Explanations, Judge


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Answers about texts with each latent's own explanation, and with that of another latent, which is a control."""

    latents: Int[np.ndarray, " latent"]
    explanations: Explanations
    truth: Bool[np.ndarray, "latent text"]
    own: Float[np.ndarray, "latent text"]
    """How likely (0 to 1) each text fits; NaN where the judge gave no answer."""
    other: Float[np.ndarray, "latent text"]
    texts: list[list[str]]
    """(latent, text) as the judge read them."""
    asked: Examples
    random_model: "Judged | None" = None
    """The same for an SAE of the model with random weights, where there is one; a control."""


def detected(judge: Judge, examples: Examples, explanations: Explanations) -> Judged:
    """Does the explanation tell texts in which the latent fires from texts in which it does not?"""
    answers = [judge.fires(said, examples.judged) for said in (explanations, others(examples, explanations))]
    return _judged(examples, explanations, answers, examples.fires, examples.judged.plain())


def fuzzed(judge: Judge, examples: Examples, explanations: Explanations) -> Judged:
    """Does it tell the tokens on which the latent fires from other tokens of the same texts?"""
    answers = [judge.fits(said, examples.fuzzed) for said in (explanations, others(examples, explanations))]
    return _judged(examples, explanations, answers, examples.fits, examples.fuzzed.with_marks())


def _judged(
    examples: Examples, explanations: Explanations, answers: list[Float[np.ndarray, "latent text"]],
    truth: Bool[np.ndarray, "latent text"], texts: list[list[str]],
) -> Judged:  # fmt: skip
    own, other = answers
    return Judged(
        latents=examples.latents,
        explanations=explanations,
        truth=truth,
        own=own,
        other=other,
        texts=texts,
        asked=examples,
    )


def others(examples: Examples, explanations: Explanations) -> Explanations:
    """For each latent the explanation of another one."""
    return [explanations[at] for at in examples.partner.tolist()]


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """How often new texts fire latents: such as are like a latent's own texts, and such as are like another's."""

    latents: Int[np.ndarray, " latent"]
    own: Float[np.ndarray, " latent"]
    """Share of the texts; NaN where there are none."""
    other: Float[np.ndarray, " latent"]


def of_world(
    judge: Exact,
    examples: Examples,
    explanations: Explanations,
    windows: Windows,
    fires: Bool[np.ndarray, "latent window"],
) -> Likeness:
    """Of texts of the world, all that contain what explains a latent."""
    rows = windows.rows(np.arange(len(windows))[None])
    own = judge.contained(explanations, windows.ids(rows)[0])
    return Likeness(latents=examples.latents, own=_share(fires, own), other=_share(fires, own[examples.partner]))


def of_writing(
    examples: Examples, writer: Int[np.ndarray, " text"], fires: Bool[np.ndarray, "latent text"]
) -> Likeness:
    """Of texts that a judge wrote, each like those of the latent of its writer's number."""
    own = writer == np.arange(len(examples))[:, None]
    return Likeness(latents=examples.latents, own=_share(fires, own), other=_share(fires, own[examples.partner]))


def _share(
    fires: Bool[np.ndarray, "latent text"], kept: Bool[np.ndarray, "latent text"]
) -> Float[np.ndarray, " latent"]:
    count = kept.sum(axis=1)
    return np.where(count > 0, (fires & kept).sum(axis=1) / np.maximum(count, 1), np.nan)


def firing_of(latents: sparse.csr_array, examples: Examples, windows: Windows) -> Bool[np.ndarray, "latent window"]:
    """(latent, window) whether each of the examples' latents fires there, of all latents (token, latent)."""
    return fired(latents[:, examples.latents], examples.side, windows)
