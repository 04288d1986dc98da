"""Labelled sets that an SAE's latents tell worse, and better, than the activation itself; from the items of stored scores."""

from collections.abc import Sequence

from saebench.record.score import Score
from saebench.record.store import Store
from saebench.record.wording import number

GAP = "sparse_probing.gap"
HEADER = ["labelled set, AUC", "activation", "all latents", "difference", "latents that tell most (what they fire on)"]
NAMES = ("item", "dense", "all", "told_by")


def probed_rows(store: Store, scores: Sequence[Score], most: int | None) -> list[list[str]] | None:
    """A row per labelled set of one SAE's scores, `most` of those furthest below and above the activation, or all.

    None where it was not scored. The lowest come first.
    """
    found = [score for score in scores if score.property == GAP and score.items]
    if not found:
        return None
    items = store.load_items(found[-1], *NAMES)
    rows = sorted(
        (float(own) - float(dense), str(name), float(dense), float(own), str(latents))
        for name, dense, own, latents in zip(*(items[name] for name in NAMES), strict=True)
    )
    kept = rows if most is None or len(rows) <= 2 * most else rows[:most] + rows[-most:]
    return [[name, number(dense), number(own), f"{gap:+.3f}", latents] for gap, name, dense, own, latents in kept]
