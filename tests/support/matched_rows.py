"""Scores of an architecture at some L0s from two seeds, as `--sae-arch` leaves them."""

import math
from collections.abc import Callable, Iterable
from typing import Any

from factories import make_score

from saebench.record.score import Score

L0S = (6.0, 14.0, 27.0, 40.0)


def scored(sae: str, l0: float | None, value: float, **more: Any) -> Score:
    known: dict[str, Any] = {"property": "reconstruction.fvu", "half": 0.002, "budget": "quick", "d_sae": 1024}
    return make_score(**(known | {"sae": sae, "l0": l0, "value": value} | more))


def line(l0: float) -> float:
    """A score that is straight in log L0."""
    return 0.4 - 0.1 * math.log(l0)


def reference(
    curve: Callable[[float], float] = line,
    apart: float = 0.001,
    name: str = "topk",
    l0s: Iterable[float] = L0S,
    **more: Any,
) -> list[Score]:
    """An architecture at some L0s from two seeds, whose scores are that far to both sides of a curve."""
    return [
        scored(f"{name}/l0-{l0:.0f}/seed-{seed}", l0, curve(l0) + (2 * seed - 1) * apart, architecture=name, **more)
        for l0 in l0s for seed in (0, 1)
    ]  # fmt: skip
