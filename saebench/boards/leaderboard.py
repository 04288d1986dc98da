"""Scores to a Markdown page, deterministically: equal scores give an equal page, so CI can compare the two."""

from collections.abc import Mapping, Sequence

from saebench.boards.board import ARROWS, Table, tables
from saebench.boards.board_footer import footer
from saebench.boards.board_notes import Marks, notes
from saebench.boards.floors import floor_columns, reference_cell
from saebench.boards.markdown import escaped, pipe_table
from saebench.boards.questions import questions_section
from saebench.compare.ranking import Compare, ranks, unpaired
from saebench.record.columns import Column, current_scores
from saebench.record.facts import FACTS
from saebench.record.score import Score
from saebench.record.wording import DASH, with_interval

FAILS = "⚠"
CARD = "[reliability card](reliability.md)"
LEGEND = f"""\
- Value ±half of its 95% interval. ↑ higher is better, ↓ lower is better, no arrow: a description, not ranked.
- In parentheses the rank: 1 + how many SAEs are clearly better. Clearly means that the difference is beyond noise, at a \
level of 5% for all pairs of a column together (Holm), item by item where both were measured on the same; what noise \
cannot tell apart can share a rank. **Bold**: rank 1.
- Without rank: controls, and an SAE whose interval reaches the *floor*, which is what a useless SAE gets. A value \
beyond the *ceiling* counts as the ceiling.
- {DASH}: no score, and no rank; the small number says why, below the table. `saebench show SAE` has the numbers of each.
- L0 differs between rows, and with it most scores: compare SAEs of like L0, or look at the pictures of scores against L0.
- There is no composite score."""


def render(
    scores: Sequence[Score], *, title: str, command: str, columns: Sequence[str] | None = None,
    questions: Mapping[str, str] | None = None, defined: Mapping[str, str] | None = None,
    pictures: Mapping[str, str] | None = None, failing: Mapping[str, Sequence[str]] | None = None,
    compare: Compare = unpaired,
) -> str:  # fmt: skip
    """Write the page: one table per property family and model, the questions behind them, how it was made.

    `columns` keeps only these properties; `questions` and `pictures` map a property family to the question it asks
    and to Markdown that shows pictures of it, `defined` a property to its definition, and `failing` a property to the
    lenses of the reliability card that it fails. An SAE that was scored with several weights appears with the newest.
    """
    current = [score for score in current_scores(scores) if columns is None or score.property in columns]
    parts = [f"# {escaped(title)}", LEGEND]
    models = list(dict.fromkeys((score.model, score.model_digest) for score in current))
    for model in models:
        of_model = [score for score in current if (score.model, score.model_digest) == model]
        suffix = f" on {escaped(model[0])}" if len(models) > 1 else ""
        for table in tables(of_model):
            parts += [f"## {escaped(table.name)}{suffix}", *_section(table, failing or {}, compare)]
            parts += [pictures[table.name]] if pictures and table.name in pictures else []
            parts += _floors(table)
    parts += [questions_section(current, questions or {}, defined or {})]
    return "\n\n".join([*parts, footer(current, command, len(scores) - len(current))]) + "\n"


def _section(table: Table, failing: Mapping[str, Sequence[str]], compare: Compare) -> list[str]:
    marks, reasons = notes(table)
    ranked = {column: ranks(table.column(column), compare) for column in table.columns}
    header = ["SAE", *(fact.name for fact in FACTS), *(_header(column, table, failing) for column in table.columns)]
    cells = {row: [_cell(table, row, column, ranked[column], marks) for column in table.columns] for row in table.rows}
    body = [[escaped(row), *map(escaped, table.facts(row)), *cells[row]] for row in table.rows]
    controls = table.controls()
    if 0 < controls < len(body):
        body.insert(len(body) - controls, ["*controls*", *[""] * (len(header) - 1)])
    grid = pipe_table(header, [*_reference(table, "floor"), *body, *_reference(table, "ceiling")], left=2)
    return [grid, *_warnings(table, failing), *reasons]


def _cell(table: Table, row: str, column: Column, ranked: Mapping[str, int], marks: Marks) -> str:
    if (row, column) in marks:
        return DASH + marks[row, column]
    score = table.cells[row, column]
    text = with_interval(score.value or 0.0, score.half_width() or 0.0)
    text = f"**{text}**" if ranked.get(row) == 1 else text
    return f"{text} ({ranked[row]})" if row in ranked else text


def _reference(table: Table, which: str) -> list[list[str]]:
    cells = [reference_cell(table.column(column), which) for column in table.columns]
    return [[f"*{which}*", *[DASH] * len(FACTS), *cells]] if set(cells) != {DASH} else []


def _header(column: Column, table: Table, failing: Mapping[str, Sequence[str]]) -> str:
    mark = f" {FAILS}" if failing.get(column.name) else ""
    return escaped(table.short(column)) + ARROWS[table.column(column)[0].better] + mark


def _warnings(table: Table, failing: Mapping[str, Sequence[str]]) -> list[str]:
    """A line per property of the table that fails lenses of the reliability card."""
    names = [name for name in dict.fromkeys(column.name for column in table.columns) if failing.get(name)]
    return [f"{FAILS} {escaped(name)} fails on the {CARD}: {escaped(', '.join(failing[name]))}" for name in names]


def _floors(table: Table) -> list[str]:
    """A second table where marginal structure has measured floors."""
    columns = [(table.short(c), [table.cells.get((row, c)) for row in table.rows]) for c in table.columns]
    header, rows = floor_columns(columns)
    if not header:
        return []
    body = [[escaped(name), *map(escaped, row)] for name, row in zip(table.rows, rows, strict=True)]
    grid = pipe_table(["SAE", *map(escaped, header)], body)
    return ["The scores behind these shares, with their floor, which is the best control, and their ceiling:", grid]
