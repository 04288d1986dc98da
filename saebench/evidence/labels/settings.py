"""Fewer texts to learn from, or more of one class than of the other: which texts of each set stay."""

import numpy as np
from jaxtyping import Bool, Float, Int

from saebench.evidence.labels.layout import Layout
from saebench.evidence.labels.parts import Part
from saebench.record.score import Unscored

ENOUGH = 512
"""Texts to learn from, below which a set is asked in none of these settings: all of them are asked of the same sets."""
CHOSEN = 32
"""Texts to learn from, below which none is left over to choose how much weights are held back."""


def rich(layout: Layout) -> Layout:
    """The sets with enough texts of both classes. Raises Unscored where there are fewer than two."""
    counts = _learned(layout)
    found = np.flatnonzero(2 * counts.min(axis=1) >= ENOUGH)
    if len(found) < 2:
        raise Unscored(
            f"it is asked of labelled sets with {ENOUGH} texts to learn from, and of this run's the largest has"
            f" {counts.sum(1).max(initial=0)}: --sae-budget full reads all there are"
        )
    return Layout(
        tuple(layout.names[i] for i in found), layout.text[found], layout.positive[found], layout.part[found]
    )  # fmt: skip


def scarce(layout: Layout, examples: int) -> Layout:
    """Each set with the first `examples` of its texts to learn from, half of them positive. Nested."""
    return _kept(layout, np.full((len(layout.names), 2), examples / 2))


def imbalanced(layout: Layout, share: float, most: float) -> Layout:
    """Each set with a share of positives among what it learns from.

    The number of texts is the same for all shares up to `most`, or from 1 - `most` on. Tests stay as many of both.
    """
    count = np.floor(_learned(layout).min(axis=1) / most)
    positives = np.ceil(share * count)
    return _kept(layout, np.stack([count - positives, positives], axis=1))


def _learned(layout: Layout) -> Int[np.ndarray, "set 2"]:
    """Texts to learn from of each class, negatives first."""
    learned = layout.mask(Part.TRAIN, Part.VALIDATION)
    found: Int[np.ndarray, "set 2"] = np.stack(
        [(learned & ~layout.positive).sum(1), (learned & layout.positive).sum(1)], axis=1
    )
    return found


def _kept(layout: Layout, count: Float[np.ndarray, "set 2"]) -> Layout:
    """With so many of the first texts to learn from of each class, and without what is not used."""
    learned, kept = layout.mask(Part.TRAIN, Part.VALIDATION), layout.mask(Part.TEST)
    for own, most in zip((~layout.positive, layout.positive), count.T, strict=True):
        side: Bool[np.ndarray, "set text"] = learned & own
        kept = kept | (side & (side.cumsum(1) <= most[:, None]))
    order = np.argsort(~kept, axis=1, kind="stable")[:, : int(kept.sum(1).max())]
    text, positive, part, used = (
        np.take_along_axis(each, order, axis=1) for each in (layout.text, layout.positive, layout.part, kept)
    )
    return Layout(layout.names, text, positive & used, np.where(used, part, Part.UNUSED))
