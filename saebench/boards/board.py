"""Scores in rows and columns, as every page shows them: which scores, which tables, which facts of an SAE."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from saebench.record.columns import Column
from saebench.record.facts import cells
from saebench.record.naming import natural
from saebench.record.score import Score

K = TypeVar("K")
MOST_PARAMS = 3
"""A property with more parametrizations than that gets a table of its own."""
Model = tuple[str, str]
"""Name and digest of a language model."""
ARROWS = {"higher": " ↑", "lower": " ↓", "neither": ""}


class Cells(dict[tuple[str, Column], Score]):
    """One model's scores by row and column, in the order of the file. Once they are looked at, they stay as they are."""

    @cached_property
    def of_row(self) -> dict[str, list[Score]]:
        return _collected((row, score) for (row, _), score in self.items())

    @cached_property
    def of_family(self) -> dict[tuple[str, str], list[Score]]:
        """By row and family."""
        return _collected(((row, column.family), score) for (row, column), score in self.items())

    @cached_property
    def of_column(self) -> dict[Column, list[Score]]:
        return _collected((column, score) for (_, column), score in self.items())

    @cached_property
    def controls(self) -> int:
        """How many rows are controls."""
        return len({score.sae for score in self.values() if score.control})


def _collected(entries: Iterable[tuple[K, Score]]) -> dict[K, list[Score]]:
    found: dict[K, list[Score]] = {}
    for key, score in entries:
        found.setdefault(key, []).append(score)
    return found


@dataclass(frozen=True)
class Table:
    """Properties on one model: rows are SAEs, then controls; columns are properties."""

    name: str
    """A family, or a property with many parametrizations."""
    rows: list[str]
    columns: list[Column]
    cells: Cells

    @property
    def family(self) -> str:
        return self.name.partition(".")[0]

    def column(self, column: Column) -> list[Score]:
        return [self.cells[row, column] for row in self.rows if (row, column) in self.cells]

    @property
    def saes(self) -> list[str]:
        """Rows that are no controls; all of them, where there is nothing else."""
        return self.rows[: len(self.rows) - self.controls()] or self.rows

    def controls(self) -> int:
        """How many rows are controls, which come last."""
        return self.cells.controls

    def missing(self, row: str, column: Column) -> str | None:
        """Why a cell is empty; None where it is not."""
        score = self.cells.get((row, column))
        return "not measured" if score is None else unscored_because(score)

    def facts(self, row: str) -> list[str]:
        """Cells of `FACTS`."""
        # The family's own texts first: L0 and FVU differ a little between corpora.
        own = self.cells.of_family.get((row, self.family), [])
        return cells([*own, *self.cells.of_row.get(row, [])])

    def short(self, column: Column) -> str:
        """Name of a column within its table, with as much as tells it from its neighbours."""
        name = column.name.partition(".")[2] or column.name
        twins = [other for other in self.columns if other.name == column.name]
        details = [f"{key}={value}" for key, value in column.params]
        details += [f"v{column.version}"] if len({twin.version for twin in twins}) > 1 else []
        alike = [twin for twin in twins if twin.params == column.params]
        details += [column.corpus] if len({twin.corpus for twin in alike}) > 1 else []
        if "." in self.name:
            values = [value for _, value in column.params]
            return ", ".join([*values, *details[len(values) :]])
        return f"{name} ({', '.join(details)})" if len(twins) > 1 and details else name


def unscored_because(score: Score) -> str | None:
    """The reason for having no value; None where there is one."""
    return f"the SAE is broken: {score.unscored_reason}" if score.broken else score.unscored_reason


def by_model(scores: Sequence[Score]) -> dict[Model, list[Score]]:
    """Scores by the name and digest of their model, in order of first appearance."""
    found: dict[Model, list[Score]] = {}
    for score in scores:
        found.setdefault((score.model, score.model_digest), []).append(score)
    return found


def tables(scores: Sequence[Score]) -> list[Table]:
    """Arrange one model's scores: families and columns in order of first appearance, SAEs in natural order.

    Properties with many parametrizations follow their family.
    """
    known: dict[Column, Column] = {}
    # One object per column: what is the same object is found without being compared.
    cells = Cells({(score.sae, known.setdefault(own, own)): score for score in scores for own in [Column.of(score)]})
    columns = list(known)
    controls = {score.sae for score in scores if score.control}
    rows = sorted({score.sae for score in scores}, key=lambda name: (name in controls, natural(name)))
    counts = Counter(name for name, _ in {(column.name, column.params) for column in columns})
    place = {column: column.name if counts[column.name] > MOST_PARAMS else column.family for column in columns}
    order = [column.family for column in columns]
    names = sorted(dict.fromkeys(place.values()), key=lambda name: (order.index(name.partition(".")[0]), "." in name))
    return [Table(name, rows, [column for column in columns if place[column] == name], cells) for name in names]
