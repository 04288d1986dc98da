"""Scores to a Markdown page, deterministically: equal scores give an equal page, so CI can compare the two."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from saebench.boards.board import Table, by_model, tables
from saebench.boards.board_footer import footer
from saebench.boards.board_notes import Notes
from saebench.boards.first_screen import FAILS, cell, first_table, heading, summarised
from saebench.boards.floors import floor_columns, reference_cell
from saebench.boards.markdown import escaped, pipe_table
from saebench.boards.questions import questions_section
from saebench.compare.contrasts import Compare, unpaired
from saebench.compare.ranking import ranks
from saebench.record.columns import Column, current_scores
from saebench.record.facts import FACTS
from saebench.record.score import Score
from saebench.record.wording import DASH

LEGEND = f"""\
- ↑ higher is better, ↓ lower is better, no arrow: a description, not ranked.
- Clearly better means that the difference is beyond noise, at a level of 5% for all pairs of a column together (Holm), \
item by item where both were measured on the same.
- Without rank: controls, and an SAE whose interval reaches the *floor*, which is what a useless SAE gets. A value \
beyond the *ceiling* counts as the ceiling.
- {DASH}: no score, and no rank; the small number says why, where it is first met on the page. `saebench show SAE` has the numbers of each.
- L0 differs between rows, and with it most scores: compare SAEs of like L0, or look at the pictures of scores against L0."""


def render(
    scores: Sequence[Score], *, title: str, command: str, columns: Sequence[str] | None = None,
    questions: Mapping[str, str] | None = None, defined: Mapping[str, str] | None = None,
    pictures: Mapping[str, str] | None = None, failing: Mapping[str, Sequence[str]] | None = None,
    headlines: Sequence[str] = (), first_picture: str = "", card: str = "reliability.md", compare: Compare = unpaired,
) -> str:  # fmt: skip
    """Write the page: a first screen, then folded a table per property family, what they ask, and how it was made.

    `columns` keeps only these properties; `questions` and `pictures` map a property family to the question it asks
    and to Markdown that shows pictures of it, `defined` a property to its definition, and `failing` a property to the
    lenses of the reliability card that it fails. `headlines` are the columns of the first table, and `first_picture`
    stands above it; `card` is the file of the card. An SAE that was scored with several weights appears with the newest.
    """
    current = [score for score in current_scores(scores) if columns is None or score.property in columns]
    of_model = {model: tables(own) for model, own in by_model(current).items()}
    models = list(of_model)
    first = {model: summarised(of_model[model], headlines) for model in models}
    reasons = {model: Notes([*filter(None, [first[model]]), *of_model[model]]) for model in models}
    suffixes = {model: f" on {escaped(model[0])}" if len(models) > 1 else "" for model in models}
    parts = [f"# {escaped(title)}", *filter(None, [first_picture])]
    for model in models:
        if table := first[model]:
            parts += [f"## SAEs{suffixes[model]}"] if suffixes[model] else []
            parts += [
                *first_table(table, failing or {}, compare, reasons[model]),
                *_warnings(table, failing or {}, card),
            ]
    parts += [*folded("How to read the tables", [LEGEND])]
    for model in models:
        for table in of_model[model]:
            shown = [
                *_section(table, failing or {}, compare, reasons[model], card),
                *filter(None, [(pictures or {}).get(table.name)]),
            ]
            parts += [f"## {escaped(table.name)}{suffixes[model]}", *folded(_counted(table), [*shown, *_floors(table)])]
    parts += [questions_section(current, questions or {}, defined or {})]
    return "\n\n".join([*parts, footer(current, command, len(scores) - len(current))]) + "\n"


def folded(summary: str, parts: Sequence[str]) -> list[str]:
    """Markdown that a reader opens."""
    return [f"<details><summary>{escaped(summary)}</summary>", *parts, "</details>"]


def _counted(table: Table) -> str:
    controls = table.controls()
    saes, columns = len(table.rows) - controls, len(table.columns)
    both = [f"{n} {word}{'s' * (n != 1)}" for n, word in ((saes, "SAE"), (controls, "control")) if n]
    return f"{' and '.join(both)}, {columns} column{'s' * (columns != 1)}"


def _section(
    whole: Table, failing: Mapping[str, Sequence[str]], compare: Compare, notes: Notes, card: str
) -> list[str]:
    table, empty = _without_empty(whole, notes)
    ranked = {column: ranks(table.column(column), compare) for column in table.columns}
    header = ["SAE", *(fact.name for fact in FACTS), *(heading(column, table, failing) for column in table.columns)]
    cells = {
        row: [cell(table, row, column, ranked[column], notes.marks) for column in table.columns] for row in table.rows
    }
    body = [[escaped(row), *map(escaped, table.facts(row)), *cells[row]] for row in table.rows]
    controls = table.controls()
    if 0 < controls < len(body):
        body.insert(len(body) - controls, ["*controls*", *[""] * (len(header) - 1)])
    grid = pipe_table(header, [*_reference(table, "floor"), *body, *_reference(table, "ceiling")], left=2)
    return [grid, *_warnings(table, failing, card), *empty, *notes.lines(whole)]


def _without_empty(table: Table, notes: Notes) -> tuple[Table, list[str]]:
    """The columns in which any SAE has a score, and a line that names the others with the numbers of their reasons.

    All columns, where there is no such one.
    """
    scored = [c for c in table.columns if any(score.value is not None for score in table.column(c))]
    empty = [column for column in table.columns if column not in scored]
    if not scored or not empty:
        return table, []
    named = [f"**{escaped(table.short(c))}**{_marked(table, c, notes)}" for c in empty]
    return replace(table, columns=scored), [f"No SAE has a score of {', '.join(named)}"]


def _marked(table: Table, column: Column, notes: Notes) -> str:
    return " ".join(dict.fromkeys(notes.marks[row, column] for row in table.rows))


def _reference(table: Table, which: str) -> list[list[str]]:
    cells = [reference_cell(table.column(column), which) for column in table.columns]
    return [[f"*{which}*", *[DASH] * len(FACTS), *cells]] if set(cells) != {DASH} else []


def _warnings(table: Table, failing: Mapping[str, Sequence[str]], card: str) -> list[str]:
    """A line per property of the table that fails lenses of the reliability card."""
    names = [name for name in dict.fromkeys(column.name for column in table.columns) if failing.get(name)]
    return [
        f"{FAILS} {escaped(name)} fails on the [reliability card]({card}): {escaped(', '.join(failing[name]))}"
        for name in names
    ]


def _floors(table: Table) -> list[str]:
    """A second table where marginal structure has measured floors."""
    columns = [(table.short(c), [table.cells.get((row, c)) for row in table.rows]) for c in table.columns]
    header, rows = floor_columns(columns)
    if not header:
        return []
    body = [[escaped(name), *map(escaped, row)] for name, row in zip(table.rows, rows, strict=True)]
    grid = pipe_table(["SAE", *map(escaped, header)], body)
    return ["The scores behind these shares, with their floor, which is the best control, and their ceiling:", grid]
