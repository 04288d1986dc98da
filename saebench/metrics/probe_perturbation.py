"""Targeted probe perturbation: do the latents of a class change what is read of it, and of nothing else?"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from saebench.evidence.labels.layout import Layout
from saebench.evidence.labels.parts import Part
from saebench.evidence.labels.perturbing import Perturbed, Probes, added, as_many, class_means, probes, random_latents
from saebench.evidence.labels.probing import check_active
from saebench.record.score import Estimate, Unscored
from saebench.stats.statistics import Floats, seed_of
from saebench.stats.two_stage import mean_of_clusters

RESAMPLES = 200
"""Of the texts of each set."""
Negatives = Literal["paired", "redrawn"]
"""Whether the clean and the perturbed activations are of the same texts, or of negatives drawn anew, as published."""


@dataclass(frozen=True, eq=False)
class Groups:
    """Sets that tell the classes of one question apart, their probes, and what latents add to these."""

    layout: Layout
    group: Int[np.ndarray, " set"]
    probes: Probes
    clean: Float[np.ndarray, "set text"]
    """What the probe of a set says of its texts."""
    added: Float[np.ndarray, "latent set"]


def tpp(perturbed: Perturbed, n: int | None, negatives: Negatives = "paired") -> Estimate:
    """How much more accuracy a class's own probe loses than those of other classes, without the n latents of the class.

    Targeted probe perturbation (SAEBench, arXiv 2503.09532; Marks et al., arXiv 2403.19647): latents are those whose
    class means differ most in what they add to the class's probe. Decoding is affine, so that what a latent adds to the
    pooled activation is taken away without another pass; the SAE's error stays. None for n stands for as many latents as
    the SAE has on at a text. As published, negatives are drawn anew for each accuracy, which adds noise to a difference
    of accuracies; `paired` compares the same texts. Ranked in neither direction: an audit (arXiv 2605.18229) found that
    it does not follow known truth. The control takes away as many random latents.
    """
    found = _groups(perturbed)
    count = as_many(perturbed.latents, n)
    chosen = _top(perturbed, found, count)
    drops, drawn, names = _effects(perturbed, found, chosen, negatives)
    purpose = f"probe_perturbation.tpp.{n}.{negatives}"
    estimate = mean_of_clusters(drops, drawn, names, purpose=purpose, n_unit="class", span=(-1.0, 1.0))
    random = random_latents(perturbed.latents, count, len(chosen))
    floor = float(_effects(perturbed, found, random, negatives)[0].mean())
    return replace(
        estimate, floor=floor, controls={**estimate.controls, "random_latents": floor, "latents": float(count)}
    )


def _groups(perturbed: Perturbed) -> Groups:
    """Made once for all n."""
    return perturbed.labelled.memory.get(("groups",), lambda: _grouped(perturbed))


def _grouped(perturbed: Perturbed) -> Groups:
    readings = perturbed.readings
    of = {name: i for i, members in enumerate(readings.plan.groups) for name in members}
    sets = [i for i, name in enumerate(readings.names) if name in of]
    if len(sets) < 2:
        raise Unscored("the labelled texts have no question of several classes")
    check_active(perturbed.latents)
    layout = Layout.of(readings, sets)
    learned = readings.memory.get(("probes",), lambda: probes(readings.pooled, layout))
    group = np.array([of[name] for name in layout.names])
    return Groups(layout, group, learned, learned.logits(readings.pooled, layout), added(perturbed, learned))


def _top(perturbed: Perturbed, found: Groups, n: int) -> list[NDArray[np.intp]]:
    """For each set the latents whose class means differ most in what they add to its probe; only those that add to it."""
    means = [class_means(perturbed.latents, found.layout, own=own) for own in (True, False)]
    effect = np.maximum(means[0] - means[1], 0) * found.added.T
    order = np.argsort(-effect, axis=1, kind="stable")[:, :n]
    return [row[effect[i, row] > 0] for i, row in enumerate(order)]


def _effects(
    perturbed: Perturbed, found: Groups, chosen: list[NDArray[np.intp]], negatives: Negatives
) -> tuple[Floats, Floats, list[str]]:
    """Per class the difference of drops, on the test texts and on resamples of them (class, resample), and its name."""
    values, drawn, names = [], [], []
    for i, latents in enumerate(chosen):
        others = [int(j) for j in np.flatnonzero(found.group == found.group[i]) if j != i]
        if not others:
            continue
        drops = {j: _drop(perturbed, found, latents, j, i, negatives) for j in (i, *others)}
        resampled = {j: _resampled(each, found.layout.names[j]) for j, each in drops.items()}
        values.append(drops[i].mean() - np.mean([drops[j].mean() for j in others]))
        drawn.append(resampled[i] - np.mean([resampled[j] for j in others], axis=0))
        names.append(found.layout.names[i])
    return np.array(values), np.stack(drawn), names


def _drop(
    perturbed: Perturbed, found: Groups, latents: NDArray[np.intp], j: int, i: int, negatives: Negatives
) -> Floats:
    """(text,) of set j whether its probe was right less whether it is without the latents of class i."""
    at = found.layout.part[j] == Part.TEST
    text, positive = found.layout.text[j, at], found.layout.positive[j, at]
    before = found.clean[j, at]
    after = before - perturbed.latents[text][:, latents] @ found.added[latents, j]
    right, left = ((logits > 0) == positive for logits in (before, after))
    if negatives == "redrawn":
        rng = np.random.default_rng(seed_of(f"probe_perturbation.negatives.{i}.{j}"))
        right, left = (_redrawn(one, positive, rng) for one in (right, left))
    drop: Floats = right.astype(np.float64) - left
    return drop


def _redrawn(right: NDArray[np.bool_], positive: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """With as many negatives drawn from all of them."""
    found = right.copy()
    found[~positive] = rng.choice(right[~positive], int((~positive).sum()))
    return found


def _resampled(drop: Floats, name: str) -> Floats:
    """(resample,) means over texts drawn anew; the same texts for whatever latents are taken away."""
    rng = np.random.default_rng(seed_of(f"probe_perturbation.texts.{name}"))
    found: Floats = rng.multinomial(len(drop), np.full(len(drop), 1 / len(drop)), RESAMPLES) @ drop / len(drop)
    return found
