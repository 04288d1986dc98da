"""What features are made of, as a person can read it: subcomponents with their controls beside them, and their phrases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from saebench.record.naming import shown
from saebench.record.score import Score
from saebench.record.store import Store
from saebench.record.wording import number

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PROPERTY = "decomposability.j"
HEADER = ["subcomponent", "phrases that it is active on", "their controls", "chance"]
COLUMNS = ("feature", "latent", "subcomponent", "rate", "control_rate", "chance", "phrases", "class")
BLOCKS, BAR = "█", 10
HIT, MISS = "+ ", "- "
"""What a phrase begins with, by whether the latent is active on it."""
Items = Mapping[str, "NDArray[np.generic]"]


@dataclass(frozen=True)
class Part:
    """One subcomponent of a feature."""

    name: str
    rate: float
    control_rate: float
    chance: float
    phrases: tuple[str, ...]

    @property
    def cells(self) -> list[str]:
        return [self.name, bar(self.rate), bar(self.control_rate), number(self.chance)]

    @property
    def hint(self) -> str:
        """Its phrases in one line, those first on which the latent is active."""
        hit, missed = ([p.removeprefix(sign) for p in self.phrases if p.startswith(sign)] for sign in (HIT, MISS))
        told = [f"{what}: {' | '.join(some)}" for what, some in (("active on", hit), ("not on", missed)) if some]
        return "; ".join(told)


@dataclass(frozen=True)
class Decomposition:
    """One latent and what its feature is made of."""

    source: str
    feature: str
    latent: int
    kind: str
    parts: tuple[Part, ...]

    @property
    def j(self) -> float:
        return sum(part.rate - part.control_rate for part in self.parts) / len(self.parts)

    @property
    def title(self) -> str:
        named = "chosen on texts that name it" if self.source == "description" else "named by the texts where it fires"
        return shown(f"latent {self.latent}: {self.feature} ({named}), J {number(self.j)}, {self.kind}")


def bar(share: float) -> str:
    """`██████▏ 0.667`: the share as a bar and as a number."""
    return f"{BLOCKS * round(BAR * max(share, 0.0)):<{BAR}} {number(share)}"


def decompositions(store: Store, scores: Sequence[Score]) -> list[Decomposition]:
    """Of one SAE's scores, those latents first whose J is largest."""
    found = [one for score in scores if score.property == PROPERTY and score.items for one in _of(store, score)]
    return sorted(found, key=lambda one: -one.j)


def _of(store: Store, score: Score) -> list[Decomposition]:
    items = store.load_items(score, *COLUMNS)
    rows: dict[tuple[str, int, str], list[Part]] = {}
    for feature, latent, name, rate, control, chance, phrases, kind in zip(*(items[c] for c in COLUMNS), strict=True):
        part = Part(
            shown(str(name)), float(rate), float(control), float(chance), tuple(map(shown, str(phrases).split("\n")))
        )
        rows.setdefault((str(feature), int(latent), str(kind)), []).append(part)
    source = str(score.params.get("source", ""))
    return [Decomposition(source, *key, tuple(parts)) for key, parts in rows.items()]


def of_latent(found: Sequence[Decomposition], latent: int, sae: str) -> list[Decomposition]:
    """What a latent is made of. Raises ValueError, which says what there is, where it was not taken apart."""
    own = [one for one in found if one.latent == latent]
    if not own:
        known = sorted({one.latent for one in found})
        there = f"there are {', '.join(map(str, known[:20]))}{' …' if len(known) > 20 else ''}" if known else "none was"
        raise ValueError(f"{sae}: latent {latent} was not taken apart by the suite decomposability; {there}")
    return own


def printed(one: Decomposition) -> str:
    """Its subcomponents as bars, and below each its phrases with a sign before them."""
    width = max(len(part.name) for part in one.parts)
    lines = [one.title, f"  {'':{width}}  {'phrases':<16}  {'controls':<16}  chance"]
    for part in one.parts:
        name, rate, control, chance = part.cells
        lines += [f"  {name:{width}}  {rate:<16}  {control:<16}  {chance}", *(f"    {text}" for text in part.phrases)]
    return "\n".join(lines)
