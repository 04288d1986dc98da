"""Rows of a labelled data set of the hub as sets of texts: of each class as many as are asked for, and then no more."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from saebench.hub.label_files import FEWEST, MOST, one_against_rest, set_of
from saebench.organism.labelled import LabelledSet, crossed
from saebench.record.naming import nearest

MOST_ROWS = 400_000
"""Of a data set, so many are looked at for texts of all classes."""
BEGINS = 512
"""Characters of a text that are kept, its first ones: of SAEBench's 128 tokens most are in them."""
EACH = MOST // 2
"""Texts of a class that are kept."""


@dataclass(frozen=True)
class Table:
    """A table `[tables.NAME]` of a file in `fixtures/labels/`: which columns are read, and what the classes are."""

    name: str
    repo: str
    text: tuple[str, ...]
    """What the column of texts may be called."""
    label: str = ""
    classes: Mapping[str, str] = field(default_factory=dict)
    """Names of classes, and what stands in the column `label` for them."""
    configurations: Mapping[str, str] = field(default_factory=dict)
    """For classes that are configurations of their own: `CONFIGURATION/KEY`, the key of the text in its column."""
    balanced: str = ""
    """A column of two values, of which each class gets as many."""
    pairs: tuple[tuple[str, str], ...] = ()
    """Pairs of classes of whose texts the value of `balanced` is asked as well; the table has no other sets."""
    files: str = ""
    """Parquet files that are read where the reader of the repository is code."""
    endings: bool = False
    """Whether the column `label` ends in what stands for the class."""
    skip: int = 0
    """Characters at the beginning of a text that are not read."""
    shortest: int = 1
    """Characters of a text, below which it is left out."""

    @property
    def sources(self) -> list[str]:
        """Configurations of the data set that are read; one without a name where there is only that."""
        return list(dict.fromkeys(map(self.source_of, self.configurations))) or [""]

    def source_of(self, name: str) -> str:
        """The configuration that a class is read from."""
        return self.configurations.get(name, "").partition("/")[0]


def table_of(name: str, told: Mapping[str, Any]) -> Table:
    """Raises ValueError with one sentence where it has a key that is not known."""
    known = list(Table.__dataclass_fields__)[1:]
    if unknown := next((key for key in told if key not in known), None):
        raise ValueError(f"[tables.{name}] has an unknown key {unknown!r}.{nearest(unknown, known)}")
    pairs = tuple((a, b) for a, b in told.get("pairs", ()))
    return Table(name, **{**told, "text": tuple(told["text"]), "pairs": pairs})


class Texts:
    """Texts of a table by class and value of `balanced`, filled row by row; what is full takes no more."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._class = {code: name for name, code in table.classes.items()} | {name: name for name in table.classes}
        self.cells: dict[str, dict[str, dict[str, None]]] = {name: {} for name in table.classes or table.configurations}
        self._most = EACH // 2 if table.balanced else EACH

    def full(self, source: str) -> bool:
        """Whether more rows of a configuration would add nothing."""
        own = [name for name in self.cells if self.table.source_of(name) == source]
        values = 2 if self.table.balanced else 1
        return all(
            len(self.cells[name]) >= values and min(map(len, self.cells[name].values())) >= self._most for name in own
        )

    def take(self, row: Mapping[str, Any], source: str) -> None:
        """Raises ValueError with one sentence where a column is missing."""
        found = self._named(row, source)
        if found is None:
            return
        text = self._text(row, found)
        value = str(_column(row, self.table.balanced)) if self.table.balanced else ""
        cell = self.cells[found].setdefault(value, {})
        if len(text) >= self.table.shortest and text.strip() and len(cell) < self._most:
            cell[text[self.table.skip :][:BEGINS]] = None

    def _named(self, row: Mapping[str, Any], source: str) -> str | None:
        if self.table.configurations:
            return next(name for name in self.cells if self.table.source_of(name) == source)
        label = str(_column(row, self.table.label))
        return self._class.get(PurePosixPath(label).suffix if self.table.endings else label)

    def _text(self, row: Mapping[str, Any], found: str) -> str:
        text = row[next((name for name in self.table.text if name in row), self.table.text[0])]
        if self.table.configurations:
            text = text[self.table.configurations[found].split("/")[1]]
        return str(text)

    def sets(self) -> Iterator[LabelledSet]:
        """Raises ValueError with one sentence where there are too few texts of a class."""
        name = self.table.name
        for own, cells in self.cells.items():
            if (fewest := min(map(len, cells.values()), default=0)) < FEWEST:
                raise ValueError(f"{self.table.repo} has {fewest} texts of {own!r}, where {FEWEST} are needed")
        if self.table.pairs:
            yield from (self._pair(a, b) for a, b in self.table.pairs)
            return
        rows = [(text, own) for own, cells in self.cells.items() for text in _alike(cells.values())]
        if len(self.cells) == 2:
            yield set_of(name, rows)
        else:
            yield from (one_against_rest(f"{name}: {own}", rows, own) for own in self.cells)

    def _pair(self, a: str, b: str) -> LabelledSet:
        values = sorted({value for own in (a, b) for value in self.cells[own]})
        cells = {
            (own == a, value == values[-1]): list(self.cells[own].get(value, {})) for own in (a, b) for value in values
        }
        return crossed(f"{a} or {b} x {self.table.balanced}", cells, MOST)


def _alike(cells: Iterable[Iterable[str]]) -> Iterator[str]:
    """As many texts of each."""
    for together in zip(*cells, strict=False):
        yield from together


def _column(row: Mapping[str, Any], name: str) -> Any:
    if name not in row:
        raise ValueError(f"its rows have {', '.join(row)}, and no {name}.{nearest(name, row)}")
    return row[name]
