"""Everything about one SAE on one screen: what it is, its scores on their scales, what has no score and why."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tabulate import tabulate

from saebench.boards.board import ARROWS, Table, by_model, tables, unscored_because
from saebench.boards.board_notes import grouped
from saebench.boards.floors import reference_cell
from saebench.boards.scale import bar
from saebench.catalogue.spec import SAESpec
from saebench.compare.contrasts import Compare, unpaired
from saebench.compare.ranking import against_floor, ranks
from saebench.record.columns import Column, current_scores
from saebench.record.facts import FACTS, cells
from saebench.record.naming import shown, shown_model
from saebench.record.score import Score
from saebench.record.wording import DASH, number, with_interval

WIDTH, LONGEST_NAME = 120, 42
HEADER = ["score", "value", "floor", "", "ceiling", "n", "rank", ""]
SIDES = ["left", "right", "right", "left", "left", "left", "left", "left"]


@dataclass(frozen=True)
class Board:
    """The scores that an SAE is shown among: its ranks are those of its board."""

    scores: Sequence[Score]
    compare: Compare = unpaired
    failing: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Property to the lenses of the reliability card that it fails."""


@dataclass(frozen=True)
class View:
    """One SAE on one board."""

    board: Board
    sae: str
    everything: bool
    """A row for each parametrization and description, and every reason in full."""

    def cell(self, table: Table, column: Column) -> Score | None:
        return table.cells.get((self.sae, column))


def overview(board: Board, sae: str, spec: SAESpec | None, *, everything: bool = False) -> str:
    """Describe one SAE in lines of at most 120 characters, unless `everything` is asked for."""
    current = current_scores(board.scores)
    own = [score for score in current if score.sae == sae]
    parts = [_heading(sae, spec, own)]
    if spec is not None and (everything or not own):
        parts += _all_facts(spec)
    models = by_model(current)
    for of_model in (models[model] for model in by_model(own)):
        parts += _scored(View(board, sae, everything), tables(of_model))
        parts += _unscored([score for score in of_model if score.sae == sae], everything)
    return "\n".join(parts if own else [*parts, "no scores"])


def _heading(sae: str, spec: SAESpec | None, scores: Sequence[Score]) -> str:
    said = [fact.said(spec) if spec else None for fact in FACTS]
    measured = [None if cell == DASH else cell for cell in cells(scores)]
    known = [_plain(own if own is not None else other) for own, other in zip(measured, said, strict=True)]
    what = [fact.phrase.format(value) for fact, value in zip(FACTS, known, strict=True) if value != DASH]
    what += ["a control"] if any(score.control for score in scores) or (spec and spec.control) else []
    places: list[tuple[str | None, ...]] = [
        (shown_model(score.model), score.hook, score.sae_digest) for score in scores
    ]
    places += [(spec.model and shown_model(spec.model), spec.hook, spec.digest)] if spec and not scores else []
    where = [f"{model} at {hook}, digest {str(digest)[:12]}" for model, hook, digest in dict.fromkeys(places)]
    where += [f"trained on {spec.context_size} tokens per context"] if spec and spec.context_size else []
    return "\n".join(_cut(line) for line in (f"{sae}: {', '.join(what)}".removesuffix(": "), "  " + "; ".join(where)))


def _all_facts(spec: SAESpec) -> list[str]:
    values = {key: value for key, value in vars(spec).items() if key not in ("name", "facts")} | spec.facts
    return [f"  {shown(key):<24} {shown(_plain(value))}" for key, value in values.items()]


def _scored(view: View, found: Sequence[Table]) -> list[str]:
    """The table of scores, and a line of those that only describe."""
    rows: list[list[str]] = []
    described: list[str] = []
    for table in found:
        scores = {c: score for c in table.columns if (score := view.cell(table, c)) and score.value is not None}
        if scores and "." in table.name and not view.everything:
            folded = _folded_row(view, table, list(scores.values()))
            describes = all(score.better == "neither" for score in scores.values())
            described += [f"{folded[0].partition('.')[2]} {folded[1]}"] if describes else []
            rows += [] if describes else [folded]
            continue
        for column, score in scores.items():
            if score.better == "neither" and not view.everything:
                described.append(f"{table.short(column)} {_value(score)}")
            else:
                rows.append(_row(view, table, column, score))
    return [*_grid(rows, view), *([_cut(f"described: {', '.join(described)}")] if described else [])]


def _grid(rows: list[list[str]], view: View) -> list[str]:
    if not rows:
        return []
    used = len(HEADER) if any(row[-1] for row in rows) else len(HEADER) - 1
    names = [[row[0] if view.everything else shown(row[0], LONGEST_NAME), *row[1:used]] for row in rows]
    grid = tabulate(names, HEADER[:used], tablefmt="simple", disable_numparse=True, colalign=SIDES[:used])
    return [line.rstrip()[: None if view.everything else WIDTH] for line in grid.splitlines()]


def _row(view: View, table: Table, column: Column, score: Score) -> list[str]:
    value, low, high = (end or 0.0 for end in (score.value, score.ci_low, score.ci_high))
    name = f"{table.name if '.' in table.name else table.family}.{table.short(column)}{ARROWS[score.better]}"
    drawn = bar(score.floor, score.ceiling, low, high, value)
    n = f"{score.n} {shown(score.n_unit, 20)}{'s' * (score.n != 1)}"
    rank = _rank(view, table.column(column), score)
    return [shown(name), _value(score), *_ends([score], drawn), n, rank, _notes(view, score)]


def _folded_row(view: View, table: Table, scores: Sequence[Score]) -> list[str]:
    """One row for all parametrizations of a property: the range of their values."""
    low, high = (end(score.value or 0.0 for score in scores) for end in (min, max))
    floors, ceilings = {score.floor for score in scores}, {score.ceiling for score in scores}
    drawn = bar(floors.pop(), ceilings.pop(), low, high) if len(floors) == len(ceilings) == 1 else ""
    asked = sum(view.cell(table, column) is not None for column in table.columns)
    values = f"{number(low)} to {number(high)}" if len(scores) > 1 else _value(scores[0])
    name = f"{table.name} ({len(scores)} of {asked}){ARROWS[scores[0].better]}"
    return [shown(name), values, *_ends(scores, drawn), "", "--all", _notes(view, scores[0])]


def _value(score: Score) -> str:
    return with_interval(score.value or 0.0, score.half_width() or 0.0)


def _ends(scores: Sequence[Score], drawn: str) -> list[str]:
    return [reference_cell(scores, "floor"), drawn, reference_cell(scores, "ceiling")]


def _rank(view: View, scores: Sequence[Score], score: Score) -> str:
    """`=2 of 17`: beaten by one of 17, as others are."""
    found = ranks(scores, view.board.compare)
    if view.sae in found:
        rivals = sum(other.value is not None and not other.control for other in scores)
        shared = sum(rank == found[view.sae] for rank in found.values()) > 1
        return f"{'=' * shared}{found[view.sae]} of {rivals}"
    standing = against_floor(score)
    return "" if standing == "beyond" else standing


def _notes(view: View, score: Score) -> str:
    """Lenses that the property fails; and where everything is asked for, the interval's ends and the controls."""
    lenses = view.board.failing.get(score.property)
    notes = [f"⚠ {', '.join(lenses)}"] if lenses else []
    if view.everything:
        notes.append(f"[{number(score.ci_low or 0.0)}, {number(score.ci_high or 0.0)}]")
        notes += [f"{name} {number(value)}" for name, value in score.controls.items()]
    return shown(", ".join(notes), 10_000)


def _unscored(scores: Sequence[Score], everything: bool) -> list[str]:
    """One line per reason."""
    missing = [score for score in scores if score.value is None]
    groups = grouped(missing, lambda score: unscored_because(score) or "")
    lines = [f"  {_together(group, everything)}: {reason}" for reason, group in groups]
    heading = [f"unscored: {len(missing)} of {len(scores)}"] if missing else []
    return heading + [shown(line, 10_000) if everything else _cut(line) for line in lines]


def _together(scores: Sequence[Score], everything: bool) -> str:
    """Names of properties, or how many scores of each family where there are more than two."""
    if everything:
        return ", ".join(" ".join([score.property, *map(str, score.params.values())]) for score in scores)
    families: dict[str, Counter[str]] = {}
    for score in scores:
        family, _, name = score.property.partition(".")
        families.setdefault(family, Counter())[name] += 1
    few = sum(map(len, families.values())) <= 2
    parts = [
        (
            f"{family}.{', '.join(_times(name, n) for name, n in names.items())}"
            if few
            else _times(family, names.total())
        )
        for family, names in families.items()
    ]
    return ", ".join(parts)


def _times(name: str, count: int) -> str:
    return f"{name} ×{count}" if count > 1 else name


def _cut(line: str) -> str:
    return shown(line, WIDTH - len(" … "))


def _plain(value: object) -> str:
    return DASH if value is None else number(value) if isinstance(value, float) else str(value)
