"""Spurious correlation removal: do the latents of what a probe learned by mistake hold it, so that without them it is right?"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from saebench.evidence.labels.layout import Layout
from saebench.evidence.labels.parts import Part
from saebench.evidence.labels.perturbing import Perturbed, Probes, added, as_many, class_means, probes, random_latents
from saebench.evidence.labels.probing import check_active
from saebench.record.score import Estimate, Unscored
from saebench.stats.statistics import Floats, never_certain, ratio_of_sums

Put = Literal["mean", "zero"]
"""What is put in the place of a latent."""


@dataclass(frozen=True, eq=False)
class Mistaken:
    """Pairs of questions in both directions: what is asked, and what is true of the same texts wherever it was learned."""

    asked: Layout
    spurious: Layout
    """The same texts, labelled with what is not asked."""
    biased: Probes
    """Learned from texts in which both are true, or neither."""
    clean: Probes
    """Learned from as many of all four kinds."""
    added: Float[np.ndarray, "latent pair"]
    """What one unit of each latent adds to the biased probe."""
    effect: Float[np.ndarray, "pair latent"]
    """How much each latent tells, to a probe of what is not asked, whether that is true."""


def scr(perturbed: Perturbed, n: int | None, put: Put = "mean") -> Estimate:
    """How much of the accuracy that a probe lacks, having learned something else by mistake, it has without n latents.

    Spurious correlation removal, SHIFT (Marks et al., arXiv 2403.19647; SAEBench, arXiv 2503.09532): a probe learns from
    texts of which two things are both true or both not, and is asked for one of them on texts of all four kinds; taken
    away are the n latents that tell most of the other: each is put to its mean over the texts, or as published to zero, which
    also moves what the probe says of all texts alike, past its threshold. 1 is the accuracy of a probe that learned from all four kinds, 0
    that of the biased probe; below 0 it is worse. Both directions of each pair count, pooled over texts, and nothing is
    clipped. None for n stands for as many latents as the SAE has on at a text. Ranked in neither direction: an audit
    (arXiv 2605.18229) found an SAE of known truth below trained ones. The control takes away as many random latents.
    """
    found = _mistaken(perturbed)
    count = as_many(perturbed.latents, n)
    order = np.argsort(-found.effect, axis=1, kind="stable")[:, :count]
    gained, lacking = _gained(perturbed, found, list(order), put)
    purpose = f"probe_perturbation.scr.{n}.{put}"
    whole = ratio_of_sums(lacking, np.ones_like(lacking), purpose="probe_perturbation.scr.lacking", n_unit="text")
    check_mistaken(whole)
    # No text gains or loses more than itself.
    most = 1 / whole.value
    estimate = never_certain(ratio_of_sums(gained, lacking, purpose=purpose, n_unit="text"), -most, most)
    random = random_latents(perturbed.latents, count, len(order))
    floor = float(_gained(perturbed, found, random, put)[0].sum() / lacking.sum())
    controls = {**estimate.controls, "random_latents": floor, "latents": float(count), "accuracy_lacking": whole.value}
    return replace(estimate, floor=floor, controls=controls)


def check_mistaken(lacking: Estimate) -> None:
    """Raises Unscored where biased probes are not clearly worse than those that learned from all four kinds."""
    if lacking.ci_low <= 0:
        raise Unscored(
            f"the biased probes lack {lacking.value:.3f} of accuracy, from {lacking.ci_low:.3f} to {lacking.ci_high:.3f}:"
            " nothing clearly was learned by mistake"
        )


def _mistaken(perturbed: Perturbed) -> Mistaken:
    """Made once for all n."""
    return perturbed.labelled.memory.get(("mistaken",), lambda: _learned(perturbed))


def _learned(perturbed: Perturbed) -> Mistaken:
    readings = perturbed.readings
    pairs = [i for i, one in enumerate(readings.plan.sets) if one.other]
    if not pairs:
        raise Unscored("of no labelled text two things are known")
    check_active(perturbed.latents)
    one, two = (Layout.of(readings, pairs, labels) for labels in (readings.positive, readings.other))
    asked, spurious = one.above(two), two.above(one)
    alike = asked.positive == spurious.positive
    biased_at = replace(asked, part=np.where(alike | (asked.part == Part.TEST), asked.part, Part.UNUSED))

    def learn() -> tuple[Probes, Probes, Probes]:
        return tuple(probes(readings.pooled, layout) for layout in (biased_at, asked, spurious))  # type: ignore[return-value]

    biased, clean, other = readings.memory.get(("mistaken probes",), learn)
    means = [class_means(perturbed.latents, spurious, own=own) for own in (True, False)]
    effect = np.abs(means[0] - means[1]) * np.abs(added(perturbed, other).T)
    return Mistaken(asked, spurious, biased, clean, added(perturbed, biased), effect)


def _gained(perturbed: Perturbed, found: Mistaken, chosen: list[NDArray[np.intp]], put: Put) -> tuple[Floats, Floats]:
    """Per test text, in all pairs, what the biased probe gains without the latents, and what it lacks beside the clean one."""
    x = perturbed.readings.pooled
    biased, clean = (learned.logits(x, found.asked) for learned in (found.biased, found.clean))
    gained, lacking = [], []
    for pair, latents in enumerate(chosen):
        at = found.asked.part[pair] == Part.TEST
        positive = found.asked.positive[pair, at]
        own = perturbed.latents[found.asked.text[pair]][:, latents] @ found.added[latents, pair]
        without = (
            biased[pair, at] - own[at] + (own[found.asked.part[pair] != Part.UNUSED].mean() if put == "mean" else 0.0)
        )
        right = [
            ((logits > 0) == positive).astype(np.float64) for logits in (biased[pair, at], clean[pair, at], without)
        ]
        gained.append(right[2] - right[0])
        lacking.append(right[1] - right[0])
    return np.concatenate(gained), np.concatenate(lacking)
