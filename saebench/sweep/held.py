"""What the joined scores file has, read line by line: a sweep's file may be larger than memory should be."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from saebench.record.lines import BOM, Line, Place, whole_lines
from saebench.record.score import Score
from saebench.record.store import Store


@dataclass
class Held:
    """Scores per SAE, and how long they took."""

    scores: Counter[str] = field(default_factory=Counter)
    seconds: dict[tuple[str, str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    """By property, budget and model."""


def held(path: Path) -> Held:
    """Of a file that need not exist. Raises ValueError where it holds anything but scores."""
    found = Held()
    for line, score in _lines(path):
        try:
            found.scores[score["sae"]] += 1
            found.seconds[score["property"], score.get("budget", ""), score["model"]].append(float(score["seconds"]))
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{path}, line {line.number} is not a score: correct or delete that line") from None
    return found


def begun(path: Path, saes: Collection[str]) -> dict[str, list[Score]]:
    """The scores of some SAEs, for runs that go on where another one stopped."""
    found = defaultdict[str, list[Score]](list)
    for line, score in _lines(path):
        if score.get("sae") in saes:
            found[str(score["sae"])].append(Score.from_line(line.text.removeprefix(BOM).decode()))
    return found


def start(path: Path, scores: list[Score], joined: Path) -> None:
    """Write what a job has to begin with, its items included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if scores:
        Store(path).replace([(score, Store(joined)) for score in scores])


def _lines(path: Path) -> Iterator[tuple[Line, dict[str, Any]]]:
    if not path.is_file():
        return
    for line in whole_lines(path, Place()):
        try:
            score = from_json(line.text.removeprefix(BOM))
        except ValueError:
            score = None
        if not isinstance(score, dict):
            raise ValueError(f"{path}, line {line.number} is not a score: correct or delete that line")
        yield line, score
