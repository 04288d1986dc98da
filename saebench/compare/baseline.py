"""Scores to compare with: a file of scores, or one SAE's row of it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from saebench.compare.differences import Difference, loaded, paired, unpaired
from saebench.record.naming import nearest
from saebench.record.score import Score
from saebench.record.store import Store

IN_COMMON = ("property", "version", "params", "corpus", "model_digest", "hook", "better", "unit")
"""What two measurements must have in common to be compared."""
MISSING = "items are missing"


@dataclass(frozen=True)
class Baseline:
    """Rows of a scores file, newest scores only, with the items beside them."""

    rows: list[Score]
    store: Store

    def find(self, score: Score) -> Score | None:
        """The row to compare with: same property, parameters and SAE name, the last one if several.

        If all rows are of one SAE (a file with one, or `FILE:row`), that SAE is the baseline for every SAE. A row
        of the same version, model and corpus wins over a later one that could not be compared.
        """
        rows = self._by_measure.get((*_measure(score), "" if self._alone else score.sae), [])
        comparable = [row for row in rows if not changed(score, row)]
        return next(reversed(comparable or rows), None)

    @cached_property
    def _alone(self) -> bool:
        return len({row.sae for row in self.rows}) == 1

    @cached_property
    def _by_measure(self) -> dict[tuple[object, ...], list[Score]]:
        """Rows by what was measured and by their SAE, unless there is one for all."""
        found: dict[tuple[object, ...], list[Score]] = {}
        for row in self.rows:
            found.setdefault((*_measure(row), "" if self._alone else row.sae), []).append(row)
        return found

    def difference(self, score: Score, row: Score, store: Store) -> Difference:
        """Score minus row, paired by the items of both where they allow it; `store` has those of the score.

        Raises ValueError with one sentence where items of either are damaged.
        """
        own, other = loaded(store.load_items, score), loaded(self.store.load_items, row)
        alone = MISSING if own is None or other is None else ""
        return paired(score, row, own or {}, other or {}) or unpaired(score, row, alone)


def _measure(score: Score) -> tuple[str, tuple[tuple[str, object], ...]]:
    return score.property, tuple(sorted(score.params.items(), key=lambda entry: entry[0]))


def changed(score: Score, baseline: Score) -> str:
    """Name what differs between two measurements, apart from the SAE; empty if they can be compared."""
    for field in IN_COMMON:
        old, new = getattr(baseline, field), getattr(score, field)
        if old != new:
            return f"{field.removesuffix('_digest')} ({old}, here {new})"
    old, new = (measured.reading.get("hook_out") for measured in (baseline, score))
    return f"hook to write to ({old}, here {new})" if old != new else ""


def read_baseline(argument: str) -> Baseline:
    """Read `FILE` or `FILE:row`, where row is the name of an SAE in that file.

    Raises ValueError with one sentence for a file or a row that is not there.
    """
    path, row = located(argument)
    return Baseline(_rows(path, row), Store(path))


def located(argument: str) -> tuple[Path, str]:
    """The file and the row of `FILE:row`; the row is empty where none is named."""
    # Names of SAEs may hold colons, so each colon is tried as the border.
    borders = [len(argument), *(i for i, char in enumerate(argument) if char == ":")]
    for path, row in ((Path(argument[:i]), argument[i + 1 :]) for i in borders):
        if path.is_file():
            return path, row
    path = Path(argument)
    siblings = [str(p) for p in path.parent.glob("*.jsonl")] if path.parent.is_dir() else []
    raise ValueError(f"{argument}: no such file of scores.{nearest(str(path), siblings)}")


def _rows(path: Path, row: str) -> list[Score]:
    scores = [score for score in Store(path).newest().values() if score.seed == 0]
    if not scores:
        raise ValueError(f"{path} holds no scores")
    names = list(dict.fromkeys(score.sae for score in scores))
    if row and row not in names:
        known = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise ValueError(f"{path} has no row '{row}'.{nearest(row, names)} Known: {known}")
    return [score for score in scores if not row or score.sae == row]
