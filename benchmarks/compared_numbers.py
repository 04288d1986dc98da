"""Whether SAEBench and saebench say the same of one SAE, number by number."""

from typing import Any

import numpy as np

from saebench.evidence.labels.layout import Layout, asked
from saebench.evidence.labels.parts import Part
from saebench.evidence.labels.probing import Labelled, choose, mean_over, on_latents
from saebench.exchange.saebench_core import COMPLEMENT, SOURCES, VALUE
from saebench.record.score import Estimate

Pair = tuple[float, float | None]
"""Theirs, and ours where there is one."""
ABSORPTION = {
    "full": "absorption.full_rate_0_6_0", "fraction": "absorption.fraction_0_6_0", "split": "first_letter.split_count",
}  # fmt: skip


def agreement(name: str, theirs: dict[str, float], ours: dict[str, Estimate | None], sides: Any) -> dict[str, Pair]:
    if name == "core":
        return of_core(theirs, ours)
    if name == "absorption":
        return {kept: (theirs[kept], _value(ours[prop])) for kept, prop in ABSORPTION.items()}
    return of_probing(theirs, sides.warm.labels.labelled(sides.warm.holder.sae(sides.spec), "mean"))


def of_core(theirs: dict[str, float], ours: dict[str, Estimate | None]) -> dict[str, Pair]:
    """All that saebench exports as SAEBench's `core`."""
    numbers = {number: source for part in SOURCES.values() for number, source in part.items()}
    return {
        number: (theirs[number], _part(ours[f"reconstruction.{prop}"], what))
        for number, (prop, what) in numbers.items()
    }


def _part(found: Estimate | None, what: str) -> float | None:
    if found is None:
        return None
    known = {VALUE: found.value, COMPLEMENT: 1 - found.value, **found.controls}
    return known.get(what)


def _value(found: Estimate | None) -> float | None:
    return None if found is None else found.value


def of_probing(theirs: dict[str, float], labelled: Labelled) -> dict[str, Pair]:
    """Accuracy of probes on k latents: of theirs, and of ours on latents chosen as they choose, and as we do."""
    layout, found = Layout.of(labelled.readings, asked(labelled.readings)), {}
    for k in (1, 2, 5):
        said = theirs[f"sae_top_{k}_test_accuracy"]
        found[f"accuracy, k={k}, chosen alike"] = (said, accuracy(labelled, layout, by_difference(labelled, layout, k)))
        chosen = choose(labelled.latents, layout, k, "deviation")
        found[f"accuracy, k={k}, chosen as ours"] = (said, accuracy(labelled, layout, chosen))
    return found


def by_difference(labelled: Labelled, layout: Layout, k: int) -> np.ndarray:
    """Latents whose class means differ most, as the SAE scales them."""
    learned = layout.mask(Part.TRAIN, Part.VALIDATION)
    raw = labelled.latents.multiply(labelled.unit[None, :]).tocsr()
    positive, negative = (
        (mean_over(layout, learned & (layout.positive == side), raw.shape[0]) @ raw).toarray() for side in (True, False)
    )
    return np.argsort(-np.abs(positive - negative), axis=1, kind="stable")[:, :k]


def accuracy(labelled: Labelled, layout: Layout, chosen: np.ndarray) -> float:
    said = on_latents(labelled.latents, layout, chosen)
    right = ((said.probability > 0.5) == said.positive) & said.tested
    return float((right.sum(1) / said.tested.sum(1)).mean())
