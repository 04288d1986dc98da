"""Which latents fire in place of which, as a table that a person can read; from the items of stored scores."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from saebench.record.score import Score
from saebench.record.store import Store
from saebench.record.wording import DASH, number

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RATE, EFFECT = "absorption.full_rate_0_6_0", "absorption.causal_rate"
HEADER = ["absorbed", "readings", "activation", "cosine to probe", "share of probe", "effect, logits"]
WORD = ("carrier_concept", "carrier_word", "carrier_main", "carrier")
MEANS = ("carrier_activation", "carrier_cosine", "carrier_share")
"""Of all readings of a word."""
Items = Mapping[str, "NDArray[np.generic]"]
AbsorbedWord = tuple[str, str, int, int]
"""Concept, word, main latent, carrier."""


def carrier_rows(store: Store, scores: Sequence[Score]) -> list[list[str]] | None:
    """A row per absorbed test word of one SAE's scores; None where absorption was not scored.

    Those come first whose carrier holds most of the probe's direction.
    """
    rate = [score for score in scores if score.property == RATE and score.items]
    if not rate:
        return None
    effects: dict[AbsorbedWord, float] = {}
    for score in scores:
        if score.property == EFFECT and score.items:
            items = store.load_items(score, *WORD, "carrier_effect")
            effects |= {
                word: float(effect) for word, effect in zip(_words(items), items["carrier_effect"], strict=True)
            }
    return _rows(store.load_items(rate[-1], *WORD, *MEANS), effects)


def _rows(items: Items, effects: Mapping[AbsorbedWord, float]) -> list[list[str]]:
    found: dict[AbsorbedWord, list[Any]] = {}
    columns = [items[name] for name in MEANS]
    for word, *values in zip(_words(items), *columns, strict=True):
        found.setdefault(word, []).append(values)
    rows: list[tuple[float, list[str]]] = []
    for word, readings in sorted(found.items()):
        concept, text, main, carrier = word
        means = [sum(map(float, column)) / len(readings) for column in zip(*readings, strict=True)]
        effect = number(effects[word]) if word in effects else DASH
        what = f"{concept}: latent {carrier} fires on '{text}' in place of latent {main}"
        rows.append((-means[-1], [what, str(len(readings)), *map(number, means), effect]))
    return [row for _, row in sorted(rows, key=lambda pair: pair[0])]


def _words(items: Items) -> list[AbsorbedWord]:
    columns = [items[name] for name in WORD]
    return [(str(c), str(w), int(m), int(k)) for c, w, m, k in zip(*columns, strict=True)]
