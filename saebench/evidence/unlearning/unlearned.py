"""What a model forgets through an SAE, and through what needs none: all that the metrics read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import sparse
from torch import Tensor

from saebench.evidence.unlearning.edits import Dense, clamped, dense, scrambled
from saebench.evidence.unlearning.latents import RARE, check_some, firing, of_topic, random_like
from saebench.evidence.unlearning.material import Material
from saebench.evidence.unlearning.sweep import Outcome, check_enough, outcome, swept
from saebench.record.score import Unscored
from saebench.saes.sae import LoadedSAE
from saebench.saes.sparsity import MOST_ACTIVE, stacked, to_sparse

TOKENS = 1024
"""That are encoded at a time."""


@dataclass(frozen=True)
class Unlearned:
    """Outcomes on the questions of the test that the model answers rightly when left alone."""

    forget_unit: tuple[str, ...]
    """What each question about the topic is about."""
    retain_unit: tuple[str, ...]
    own: Outcome
    """Of latents that fire on the topic, as validation chose."""
    strongest: Outcome
    """Of as many of them as are clamped at most, as strongly as they are: whatever the harm."""
    controls: dict[str, Outcome]
    """`random` latents that fire as often and the `dense` direction, each with its own sweep; `scrambled`, the chosen
    latents writing along random directions, where any are chosen."""
    accuracy: dict[str, float]
    """Share of questions that the model answers rightly when left alone, of each side."""
    tested: Bool[np.ndarray, " question"]
    """Which questions about the topic, of all for the test, it answers rightly."""


def dense_of(material: Material) -> Outcome:
    """What one dense direction does: the same for all SAEs at a hook."""
    check_enough(material.asked)
    found: Dense = dense(material.asked, material.written["forget"], material.written["retain"])
    return swept(material.asked, found)


def unlearned(sae: LoadedSAE, material: Material, of_direction: Outcome) -> Unlearned:
    """Choose latents on texts, how to clamp them on validation questions, and ask those of the test."""
    asked = material.asked
    read = firing(*(latents_of(sae, material.texts[name]) for name in ("forget", "retain")))
    lists = {rare: of_topic(read, rare) for rare in RARE}
    check_some(list(lists.values()))
    others = {rare: random_like(read, latents, "unlearning.random") for rare, latents in lists.items()}
    own, random = clamped(sae, asked, read, lists, others)
    best = swept(asked, own)
    controls = {"dense": of_direction, "random": swept(asked, random)}
    if best.setting is not None:
        controls["scrambled"] = outcome(asked, scrambled(own), best.setting)
    q, test = asked.questions, {retain: asked.part(retain=retain, test=True) for retain in (False, True)}
    return Unlearned(
        forget_unit=tuple(q.unit[i] for i in test[False]), retain_unit=tuple(q.unit[i] for i in test[True]),
        own=best, strongest=outcome(asked, own, max(own.settings)), controls=controls,
        accuracy={name: float(asked.right[q.retain == (name == "retain")].mean()) for name in ("forget", "retain")},
        tested=asked.right[q.test & ~q.retain],
    )  # fmt: skip


def latents_of(sae: LoadedSAE, x: Float[Tensor, "token d"]) -> sparse.csr_array:
    """(token, latent) of activations. Raises Unscored where there are too many to be kept."""
    parts = [to_sparse(sae.encode(x[start : start + TOKENS].to(sae.device))) for start in range(0, len(x), TOKENS)]
    if sum(part.nnz for part in parts) > MOST_ACTIVE:
        raise Unscored("the latents are too dense to be kept")
    return stacked(parts)
