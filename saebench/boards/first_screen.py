"""What a reader sees first: one picture, and one table of the SAEs with a column per question."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from saebench.boards.board import ARROWS, Table
from saebench.boards.board_notes import Marks, Notes
from saebench.boards.markdown import escaped, pipe_table
from saebench.compare.contrasts import Compare, unpaired
from saebench.compare.ranking import ranks
from saebench.record.columns import Column
from saebench.record.wording import DASH, with_interval

MOST_ROWS = 20
"""SAEs of the first table: a screen has 40 lines."""
FAILS = "⚠"
HEADING = (
    "A column per question, and of each the property that stands for it: value ±half of its 95% interval, and in"
    " parentheses the rank, 1 + how many SAEs are clearly better. **Bold** is rank 1; what noise cannot tell apart can"
    f" share a rank, and {DASH} is no score: *not evaluable*, or not measured, as the number behind it says below. There is"
    " no composite score."
)


def summarised(found: Sequence[Table], headlines: Sequence[str]) -> Table | None:
    """The headline columns of one model's tables, in the order of `headlines`, and the SAEs that are no controls.

    Where there are nothing but controls, they are the rows. None where no headline was asked for.
    """
    # Of a property with parameters, the first column stands for it.
    known = {column.name: column for table in reversed(found) for column in reversed(table.columns)}
    columns = [known[name] for name in headlines if name in known]
    if not columns:
        return None
    return replace(found[0], name="", rows=found[0].saes, columns=columns)


def first_table(
    table: Table, failing: Mapping[str, Sequence[str]], compare: Compare = unpaired, notes: Notes | None = None
) -> list[str]:
    """The table, how many SAEs it leaves out, and why cells are empty; `notes` are those of all tables of the page."""
    notes = notes or Notes([table])
    ranked = {column: ranks(table.cells.of_column[column], compare) for column in table.columns}
    table, left_out = replace(table, rows=table.rows[:MOST_ROWS]), len(table.rows[MOST_ROWS:])
    header = ["SAE", "L0", *(heading(column, table, failing) for column in table.columns)]
    body = [
        [
            escaped(row),
            escaped(table.facts(row)[2]),
            *(cell(table, row, c, ranked[c], notes.marks) for c in table.columns),
        ]
        for row in table.rows
    ]
    more = [f"… and {left_out} more SAEs: below."] if left_out else []
    return [HEADING, pipe_table(header, body), *more, *notes.lines(table)]


def heading(column: Column, table: Table, failing: Mapping[str, Sequence[str]]) -> str:
    """Name, direction, and whether the property fails on the reliability card."""
    mark = f" {FAILS}" if failing.get(column.name) else ""
    return (
        escaped(column.name if not table.name else table.short(column))
        + ARROWS[table.cells.of_column[column][0].better]
        + mark
    )


def cell(table: Table, row: str, column: Column, ranked: Mapping[str, int], marks: Marks) -> str:
    """Value, interval and rank of one SAE; a dash with the number of its reason where there is none."""
    if (row, column) in marks:
        return DASH + marks[row, column]
    score = table.cells[row, column]
    text = with_interval(score.value or 0.0, score.half_width() or 0.0)
    text = f"**{text}**" if ranked.get(row) == 1 else text
    return f"{text} ({ranked[row]})" if row in ranked else text
