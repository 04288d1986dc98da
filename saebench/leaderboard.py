"""Scores to a Markdown page, deterministically: equal scores give an equal page, so CI can compare the two."""

import ast
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from saebench.floors import DASH, floor_columns
from saebench.gate import number, with_interval
from saebench.naming import natural, shown
from saebench.score import Score

ARROWS = {"higher": " ↑", "lower": " ↓", "neither": ""}
NUMBER = re.compile(r"(?<![\w.])[+-]?\d+(?:[.,]\d+)*(?![\w])")
MOST_PARAMS = 3
"""A property with more parametrizations than that gets a table of its own."""
LEGEND = (
    "Value ±half of its 95% interval. **Bold**: the best, and all that noise cannot tell from it, if beyond the floor. "
    "↑ higher is better, ↓ lower is better, no arrow: a description, not ranked. Controls are never ranked. There is no composite score."
)


@dataclass(frozen=True, order=True)
class Column:
    """Scores that may stand in one column and be ranked: one property, version, parameters, corpus."""

    name: str
    version: int
    params: tuple[tuple[str, str], ...]
    corpus: str

    @classmethod
    def of(cls, score: Score) -> "Column":
        params = tuple(sorted((name, str(value)) for name, value in score.params.items()))
        return cls(score.property, score.version, params, score.corpus)

    @property
    def family(self) -> str:
        return self.name.partition(".")[0]


@dataclass(frozen=True)
class Table:
    """Properties on one model: rows are SAEs, then controls; columns are properties."""

    name: str
    """A family, or a property with many parametrizations."""
    rows: list[str]
    columns: list[Column]
    cells: dict[tuple[str, Column], Score]

    @property
    def family(self) -> str:
        return self.name.partition(".")[0]

    def column(self, column: Column) -> list[Score]:
        return [self.cells[row, column] for row in self.rows if (row, column) in self.cells]


def render(
    scores: Sequence[Score], *, title: str, command: str, columns: Sequence[str] | None = None,
    questions: Mapping[str, str] | None = None, pictures: Mapping[str, str] | None = None,
) -> str:  # fmt: skip
    """Write the page: one table per property family and model, the questions behind them, how it was made.

    `columns` keeps only these properties; `questions` and `pictures` map a property family to the question it
    asks and to Markdown that shows pictures of it. An SAE that was scored with several weights appears with the newest.
    """
    current = [score for score in current_scores(scores) if columns is None or score.property in columns]
    parts = [f"# {escaped(title)}", LEGEND]
    models = list(dict.fromkeys((score.model, score.model_digest) for score in current))
    for model in models:
        of_model = [score for score in current if (score.model, score.model_digest) == model]
        suffix = f" on {escaped(model[0])}" if len(models) > 1 else ""
        parts += [_section(table, suffix, pictures or {}) for table in tables(of_model)]
    parts += [_questions(current, questions or {}), _footer(current, command, len(scores) - len(current))]
    return "\n\n".join(parts) + "\n"


def tables(scores: Sequence[Score]) -> list[Table]:
    """Arrange one model's scores: families and columns in order of first appearance, SAEs in natural order.

    Properties with many parametrizations follow their family.
    """
    columns = list(dict.fromkeys(Column.of(score) for score in scores))
    controls = {score.sae for score in scores if score.control}
    rows = sorted({score.sae for score in scores}, key=lambda name: (name in controls, natural(name)))
    cells = {(score.sae, Column.of(score)): score for score in scores}
    counts = Counter(name for name, _ in {(column.name, column.params) for column in columns})
    place = {column: column.name if counts[column.name] > MOST_PARAMS else column.family for column in columns}
    order = [column.family for column in columns]
    names = sorted(dict.fromkeys(place.values()), key=lambda name: (order.index(name.partition(".")[0]), "." in name))
    return [Table(name, rows, [column for column in columns if place[column] == name], cells) for name in names]


def best(scores: Sequence[Score]) -> set[str]:
    """Names of the SAEs that lead: the best value, and all whose interval overlaps its interval.

    A value beyond the ceiling counts as the ceiling. Controls never lead, nor does an SAE whose interval reaches the
    floor, which is what a useless SAE gets. Empty for properties without direction, and where fewer than two SAEs are
    scored.
    """
    scored = [_up_to_ceiling(score) for score in scores if score.value is not None and not score.control]
    if len(scored) < 2 or scored[0].better == "neither":
        return set()
    sign = 1 if scored[0].better == "higher" else -1
    useful = [score for score in scored if _beyond_floor(score)]
    leader = max(useful, key=lambda score: sign * (score.value or 0.0), default=None)
    return {score.sae for score in useful if leader is not None and _overlap(score, leader)}


def _beyond_floor(score: Score) -> bool:
    if score.floor is None or score.ci_low is None or score.ci_high is None:
        return True
    return score.ci_low > score.floor if score.better == "higher" else score.ci_high < score.floor


def suite_questions(suites_dir: str | Path) -> dict[str, str]:
    """Map property family to the docstring of `test_<family>.py`, read without importing it."""
    found = {}
    for path in sorted(Path(suites_dir).glob("test_*.py")):
        if docstring := ast.get_docstring(ast.parse(path.read_text())):
            found[path.stem.removeprefix("test_")] = " ".join(docstring.split())
    return found


def escaped(text: str) -> str:
    """Write a name so that Markdown and HTML show it as it is, on one line."""
    text = "".join(char if char.isprintable() else " " for char in text).replace("&", "&amp;")
    text = re.sub(r"([\\`*|\[\]~$#])", r"\\\1", text).replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])", r"\\_", text)


def current_scores(scores: Sequence[Score]) -> list[Score]:
    """Leave out scores of an SAE's or a model's earlier weights: a row must not mix two SAEs of one name."""
    dated = sorted(scores, key=lambda score: score.created)
    newest = {(score.sae, score.model): (score.sae_digest, score.model_digest) for score in dated}
    return [score for score in scores if newest[score.sae, score.model] == (score.sae_digest, score.model_digest)]


def _section(table: Table, suffix: str, pictures: Mapping[str, str]) -> str:
    notes = _notes(table)
    reasons = list(notes)
    leaders = {column: best(table.column(column)) for column in table.columns}
    body = [
        [escaped(row), *_facts(table, row), *(_cell(table, row, c, leaders[c], reasons) for c in table.columns)]
        for row in table.rows
    ]
    controls = len({score.sae for score in table.cells.values() if score.control})
    if 0 < controls < len(body):
        body.insert(len(body) - controls, ["*controls*", *[""] * (2 + len(table.columns))])
    body = [*_reference(table, "floor"), *body, *_reference(table, "ceiling")]
    header = ["SAE", "L0", "FVU", *(_header(column, table) for column in table.columns)]
    grid = tabulate(
        body, header, tablefmt="pipe", disable_numparse=True, colalign=["left", *["right"] * (len(header) - 1)]
    )
    parts = [f"## {escaped(table.name)}{suffix}", grid]
    parts += [f"({i}) {escaped(reason)}: {escaped('; '.join(notes[reason]))}" for i, reason in enumerate(reasons, 1)]
    if table.name in pictures:
        parts.append(pictures[table.name])
    parts += _floors(table)
    return "\n\n".join(parts)


def _floors(table: Table) -> list[str]:
    """A second table where marginal structure has measured floors."""
    columns = [(_short(c, table), [table.cells.get((row, c)) for row in table.rows]) for c in table.columns]
    header, rows = floor_columns(columns)
    if not header:
        return []
    body = [[escaped(name), *map(escaped, row)] for name, row in zip(table.rows, rows, strict=True)]
    grid = tabulate(
        body, ["SAE", *map(escaped, header)], tablefmt="pipe", disable_numparse=True,
        colalign=["left", *["right"] * len(header)],
    )  # fmt: skip
    return ["The scores behind these shares, with their floor, which is the best control, and their ceiling:", grid]


def _notes(table: Table) -> dict[str, list[str]]:
    """Map the reason of an empty cell to the cells it holds for.

    Reasons that differ in their numbers alone are one, whose numbers stand with the cells.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for column in table.columns:
        for row in table.rows:
            if reason := _missing(table, row, column):
                found.setdefault(_without_numbers(reason), []).append((f"{_short(column, table)} of {row}", reason))
    return {
        form if (differ := len({reason for _, reason in cells}) > 1) else cells[0][1]: [
            f"{cell} ({', '.join(NUMBER.findall(reason))})" if differ else cell for cell, reason in cells
        ]
        for form, cells in found.items()
    }


def _without_numbers(reason: str) -> str:
    """A reason without its numbers."""
    return NUMBER.sub("…", reason)


def _missing(table: Table, row: str, column: Column) -> str | None:
    score = table.cells.get((row, column))
    return "not measured" if score is None else score.unscored_reason


def _cell(table: Table, row: str, column: Column, leaders: set[str], reasons: list[str]) -> str:
    if reason := _missing(table, row, column):
        return f"{DASH} ({reasons.index(reason if reason in reasons else _without_numbers(reason)) + 1})"
    score = table.cells[row, column]
    text = with_interval(score.value or 0.0, score.half_width() or 0.0)
    return f"**{text}**" if row in leaders else text


def _facts(table: Table, row: str) -> list[str]:
    scores = [score for (name, _), score in table.cells.items() if name == row]
    # The family's own texts first: L0 and FVU differ a little between corpora.
    scores.sort(key=lambda score: Column.of(score).family != table.family)
    l0 = next((f"{score.l0:.1f}" for score in scores if score.l0 is not None), DASH)
    return [l0, next((number(score.fvu) for score in scores if score.fvu is not None), DASH)]


def _reference(table: Table, which: str) -> list[list[str]]:
    cells = []
    for column in table.columns:
        values = {getattr(score, which) for score in table.column(column) if score.value is not None} - {None}
        ends = sorted({number(value) for value in (min(values), max(values))}, key=float) if values else [DASH]
        cells.append(" to ".join(ends))
    return [[f"*{which}*", DASH, DASH, *cells]] if set(cells) != {DASH} else []


def _header(column: Column, table: Table) -> str:
    return escaped(_short(column, table)) + ARROWS[table.column(column)[0].better]


def _short(column: Column, table: Table) -> str:
    """Name of a column within its table, with as much as tells it from its neighbours."""
    name = column.name.partition(".")[2] or column.name
    twins = [other for other in table.columns if other.name == column.name]
    details = [f"{key}={value}" for key, value in column.params]
    details += [f"v{column.version}"] if len({twin.version for twin in twins}) > 1 else []
    alike = [twin for twin in twins if twin.params == column.params]
    details += [column.corpus] if len({twin.corpus for twin in alike}) > 1 else []
    if "." in table.name:
        return ", ".join(value for _, value in column.params)
    return f"{name} ({', '.join(details)})" if len(twins) > 1 and details else name


def _questions(scores: Sequence[Score], questions: Mapping[str, str]) -> str:
    lines = ["## What the columns ask"]
    for family in dict.fromkeys(Column.of(score).family for score in scores):
        lines.append(f"**{escaped(family)}**: {questions.get(family, 'no question is written down for this family.')}")
        of_family = [score for score in scores if Column.of(score).family == family]
        lines.append("\n".join(dict.fromkeys(_unit_line(score, of_family) for score in of_family)))
    return "\n\n".join(lines)


def _unit_line(score: Score, scores: Sequence[Score]) -> str:
    same = [s for s in scores if (s.property, s.version) == (score.property, score.version) and s.value is not None]
    sizes, units = {s.n for s in same}, sorted({s.n_unit for s in same})
    n = (
        f"; n = {min(sizes)}{f' to {max(sizes)}' if len(sizes) > 1 else ''} {'/'.join(f'{unit}s' for unit in units)}"
        if sizes
        else ""
    )
    return f"- {escaped(score.property)}, version {score.version}: {escaped(score.unit + n)}"


def _footer(scores: Sequence[Score], command: str, hidden: int) -> str:
    versions = sorted({f"{name} {version}" for score in scores for name, version in score.versions.items()})
    commits = sorted({score.commit + (" with uncommitted changes" if score.dirty else "") for score in scores})
    count = f"{len(scores)}, of which {sum(score.value is None for score in scores)} unscored"
    command = shown(command, most=len(command))
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", command)), default=0))
    facts = {
        "Scores": count + (f"; {hidden} of other weights or columns left out" if hidden else ""),
        "Newest": max((score.created for score in scores), default=""),
        "Model": ", ".join(sorted({f"{score.model} ({score.model_digest[:12]})" for score in scores})),
        "Corpus": ", ".join(sorted({score.corpus for score in scores})),
        "Commit": ", ".join(filter(None, commits)),
        "Versions": ", ".join(versions),
    }  # fmt: skip
    lines = [f"- {name}: {escaped(fact) or DASH}" for name, fact in facts.items()]
    return "\n\n".join(("## How this was made", f"{fence}\n{' '.join(command.split())}\n{fence}", "\n".join(lines)))


def _up_to_ceiling(score: Score) -> Score:
    if score.ceiling is None or score.better == "neither":
        return score
    limit = min if score.better == "higher" else max
    ends = {name: limit(getattr(score, name), score.ceiling) for name in ("value", "ci_low", "ci_high")}
    return score.model_copy(update=ends)


def _overlap(score: Score, other: Score) -> bool:
    return max(score.ci_low or 0.0, other.ci_low or 0.0) <= min(score.ci_high or 0.0, other.ci_high or 0.0)
