"""How long tests took on this machine, so that a run can say how long it will take."""

import json
import os
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from saebench.record.atomic import replacing
from saebench.record.places import cache_dir
from saebench.record.score import Score

KEPT = 50
"""Latest durations of a property that are remembered."""


class Durations:
    """Seconds per property, budget and model. What cannot be read or written is as if nothing had been measured."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or cache_dir() / "durations.json"
        self._known: dict[str, list[float]] = {}
        try:
            held = json.loads(self.path.read_text("utf-8"))
            self._known = {str(key): [float(value) for value in values] for key, values in held.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            self._known = {}

    def expected(self, properties: Sequence[str], budget: str, model: str) -> tuple[float, int]:
        """Seconds that tests of some properties take together, and how many of them were never measured."""
        known = [self._known.get(_key(name, budget, model)) for name in properties]
        return sum(statistics.fmean(values) for values in known if values), sum(not values for values in known)

    def add(self, scores: Iterable[Score]) -> None:
        """Remember what was measured, and not found in a file."""
        found = defaultdict[str, list[float]](list)
        for score in scores:
            if not score.cached and score.seconds is not None:
                found[_key(score.property, score.budget or "", score.model)].append(round(score.seconds, 3))
        if not found:
            return
        for key, values in found.items():
            self._known[key] = [*self._known.get(key, []), *values][-KEPT:]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.path) as file:
                file.write(json.dumps(self._known).encode())
        except (OSError, ValueError):
            return  # a run does not fail for it


def _key(name: str, budget: str, model: str) -> str:
    return f"{name} at {budget} on {model}, {os.cpu_count()} cores"


def in_words(seconds: float) -> str:
    """`40 seconds`, `12 minutes`, `3.5 hours`."""
    if seconds < 90:
        return f"{seconds:.0f} seconds" if seconds >= 1.5 else "1 second"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
