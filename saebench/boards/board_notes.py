"""Why cells of a leaderboard are empty: a mark in the cell, and one line per reason below the table."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from saebench.boards.board import Table
from saebench.boards.markdown import escaped, note_mark
from saebench.record.columns import Column
from saebench.record.wording import NUMBER

T = TypeVar("T")
Marks = dict[tuple[str, Column], str]


def notes(table: Table) -> tuple[Marks, list[str]]:
    """Return the mark of every empty cell, and the reasons as lines of Markdown.

    Reasons that differ in their numbers alone are one line, with the range of each number.
    """
    empty = [(row, column) for column in table.columns for row in table.rows if table.missing(row, column)]
    groups = grouped(empty, lambda cell: table.missing(*cell) or "")
    marks = {cell: note_mark(i) for i, (_, cells) in enumerate(groups, 1) for cell in cells}
    return marks, [f"{note_mark(i)} {escaped(reason)}" for i, (reason, _) in enumerate(groups, 1)]


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
