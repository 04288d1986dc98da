"""Why cells of a leaderboard are empty: a mark in the cell, and one line per reason below the table."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from saebench.boards.board import Table
from saebench.boards.markdown import escaped, note_mark
from saebench.record.columns import Column
from saebench.record.wording import NUMBER

T = TypeVar("T")
Marks = dict[tuple[str, Column], str]


class Notes:
    """Why cells of one model's tables are empty: every reason has one number, and is told where it is first met."""

    def __init__(self, found: Sequence[Table]) -> None:
        """Reasons that differ in their numbers alone are one, with the range of each number."""
        empty = {
            (row, column): reason
            for table in found for column in table.columns for row in table.rows
            if (reason := table.missing(row, column))
        }  # fmt: skip
        groups = grouped(list(empty), lambda cell: empty[cell])
        self.marks: Marks = {cell: note_mark(i) for i, (_, cells) in enumerate(groups, 1) for cell in cells}
        self._lines = {
            note_mark(i): f"{note_mark(i)} {escaped(reason)}" + (f" ({len(cells)} scores)" if len(cells) > 1 else "")
            for i, (reason, cells) in enumerate(groups, 1)
        }

    def lines(self, table: Table) -> list[str]:
        """Reasons of a table's empty cells that were not told yet, as lines of Markdown."""
        met = dict.fromkeys(
            self.marks[row, column]
            for column in table.columns for row in table.rows if (row, column) in self.marks
        )  # fmt: skip
        return [self._lines.pop(mark) for mark in met if mark in self._lines]


def grouped(things: Iterable[T], reason: Callable[[T], str]) -> list[tuple[str, list[T]]]:
    """Reasons in order of first appearance, each with what it holds for; those that differ in numbers alone are one."""
    found: dict[tuple[str, ...], list[T]] = {}
    for thing in things:
        found.setdefault(tuple(NUMBER.split(reason(thing))), []).append(thing)
    return [(_merged([reason(thing) for thing in group]), group) for group in found.values()]


def _merged(reasons: Sequence[str]) -> str:
    """`an F1 of 0.53 to 0.76`."""
    columns = zip(*(NUMBER.findall(reason) for reason in reasons), strict=True)
    ranges = iter([_range(numbers) for numbers in columns])
    return NUMBER.sub(lambda _: next(ranges), reasons[0])


def _range(numbers: Sequence[str]) -> str:
    ends = [end(numbers, key=lambda text: float(text.replace(",", ""))) for end in (min, max)]
    return " to ".join(dict.fromkeys(ends))
