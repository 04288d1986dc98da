"""Rows of a text and its label, from CSV or JSON lines, as sets of texts of which one thing is true or not."""

import csv
import io
import json
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from saebench.hub.hub import one_line
from saebench.organism.labelled import LabelledSet, crossed
from saebench.record.naming import nearest
from saebench.record.plain_text import read_text

TEXT = ("prompt", "text")
LABEL = ("target", "label")
"""What the columns may be called."""
LONGEST = 10**8
"""Characters of one field."""
ENDS = 2048
"""Characters of a text that are kept, its last ones: what a model reads of it ends in its last token."""
MOST = 1536
"""Texts of a set that are kept, in a drawn order; half of them positive, where there are so many."""
FEWEST = 24
"""Texts of each class without which nothing is learned of a set."""
MOST_VALUES = 32
"""Labels, each of which is told apart from all others; where there are more, they are numbers or names, and no classes."""
Row = tuple[str, str]
"""A text and its label."""


def set_of(name: str, rows: Sequence[Row]) -> LabelledSet:
    """The texts of a set of two labels, of which the second in order is what is positive, in a drawn order."""
    values = sorted({label for _, label in rows})
    if len(values) != 2:
        raise ValueError(f"{name}: two labels are expected, and it has {len(values)}")
    return one_against_rest(name, rows, values[1])


def paired(name: str, rows: Sequence[Row], other: str, others: Sequence[Row]) -> LabelledSet:
    """The texts that two files of two labels each have in common, in as many of all four combinations."""
    found = [dict(each) for each in (rows, others)]
    positive = [max(each.values()) for each in found]
    cells: dict[tuple[bool, bool], list[str]] = {(x, y): [] for x in (True, False) for y in (True, False)}
    for text in sorted(found[0].keys() & found[1].keys()):
        cells[found[0][text] == positive[0], found[1][text] == positive[1]].append(text[-ENDS:])
    return crossed(f"{name} x {other}", cells, MOST)


def one_against_rest(name: str, rows: Sequence[Row], value: str) -> LabelledSet:
    """At most `MOST` texts, drawn by the set's name: of those with the label, and as many of the others."""
    rng = random.Random(f"labels/{name}")
    kept = {text: label == value for text, label in reversed(rows) if text.strip()}  # each text once
    each = {own: sorted(text for text, is_own in kept.items() if is_own == own) for own in (True, False)}
    size = min(MOST // 2, *map(len, each.values()))
    drawn = {own: rng.sample(texts, size) for own, texts in each.items()}
    # In turn, so that the first of them are as many of both.
    pairs = [
        (text[-ENDS:], own)
        for two in zip(drawn[True], drawn[False], strict=True)
        for text, own in zip(two, (True, False), strict=True)
    ]
    return LabelledSet(name, tuple(text for text, _ in pairs), tuple(own for _, own in pairs))


def by_question(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Sets named `QUESTION: CLASS`, of those with several classes."""
    asked: dict[str, list[str]] = {}
    for name in names:
        question, colon, _ = name.partition(": ")
        if colon:
            asked.setdefault(question, []).append(name)
    return [tuple(classes) for classes in asked.values() if len(classes) > 1]


def rows_of_csv(content: str, name: str) -> list[dict[str, str]]:
    """Rows by the names of columns."""
    csv.field_size_limit(LONGEST)
    try:
        return list(csv.DictReader(io.StringIO(content, newline=""), strict=True))
    except csv.Error as error:
        raise ValueError(f"{name} is not CSV: {one_line(error)}") from None


def read_file(path: Path) -> list[LabelledSet]:
    """Sets of a user's file: one for two labels, else one for each. Raises ValueError with one sentence."""
    told = f"--sae-labels {path}"
    try:
        content = read_text(path)
    except ValueError as error:
        raise ValueError(f"--sae-labels {error}") from None
    rows = _labelled(told, _objects(told, content) if path.suffix == ".jsonl" else rows_of_csv(content, told))
    counted = Counter(label for _, label in rows)
    if len(counted) < 2:
        only = f"all {len(rows)} texts have the label {next(iter(counted))!r}" if counted else "it holds no text"
        raise ValueError(f"{told}: {only}, and two classes are needed")
    if len(counted) > MOST_VALUES:
        raise ValueError(f"{told}: {len(counted)} different labels, where at most {MOST_VALUES} classes are told apart")
    few = {label: n for label, n in counted.items() if n < FEWEST}
    if len(counted) - len(few) < (2 if len(counted) == 2 else 1):
        least = min(counted, key=lambda label: counted[label])
        raise ValueError(f"{told}: {counted[least]} texts of the label {least!r}, where {FEWEST} of each are needed")
    values = sorted(counted)
    if len(values) == 2:
        return [set_of(path.stem, rows)]
    return [one_against_rest(f"{path.stem}: {value}", rows, value) for value in values if value not in few]


def _objects(told: str, content: str) -> list[dict[str, str]]:
    found = []
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{told}, line {number}: not JSON: {one_line(error)}") from None
        if not isinstance(entry, dict):
            raise ValueError(f"{told}, line {number}: expected an object with a text and a label")
        found.append(entry)
    return found


def _labelled(told: str, rows: Sequence[dict[str, str]]) -> list[Row]:
    """Texts and labels of rows. Raises ValueError where a column, a text or a label is missing."""
    columns = list(rows[0]) if rows else []
    names = [next((name for name in group if name in columns), None) for group in (TEXT, LABEL)]
    for name, group in zip(names, (TEXT, LABEL), strict=True):
        if rows and name is None:
            raise ValueError(
                f"{told}: no column {' or '.join(group)} among {', '.join(columns)}.{nearest(group[0], columns)}"
            )
    return [_row(told, number, row, *map(str, names)) for number, row in enumerate(rows, 1)]


def _row(told: str, number: int, row: Mapping[str, object], text: str, label: str) -> Row:
    said, value = row.get(text), row.get(label)
    if not isinstance(said, str) or not said.strip():
        raise ValueError(f"{told}, row {number}: its {text} is no text")
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    if missing or str(value).strip().lower() in ("", "nan", "none", "null"):
        raise ValueError(f"{told}, row {number}: its {label} is missing")
    return said, str(value)
