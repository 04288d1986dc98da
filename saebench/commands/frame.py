"""`saebench table`: scores as a tidy frame, which pandas and polars read in one line."""

import argparse
import csv
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from saebench.commands import DEFAULT_SCORES, Commands, params_of, put
from saebench.record.naming import shown
from saebench.record.score import Score
from saebench.record.store import Store

FORMATS = ("csv", "json", "parquet")
LEFT = (
    "property", "params", "sae", "control", "value", "ci_low", "ci_high", "n", "n_unit", "better", "unit", "floor",
    "ceiling", "unscored_reason", "l0", "fvu", "d_sae", "architecture", "model", "hook", "corpus", "budget", "seed",
    "version", "seconds", "device", "dtype", "created", "sae_digest", "model_digest",
)  # fmt: skip
"""Columns of every frame, a row per score; `params` are one text, as `saebench show` has them."""


def add(commands: Commands) -> None:
    parser = commands.add_parser("table", help="write scores as a tidy frame: csv, json or parquet")
    parser.add_argument("file", metavar="FILE", nargs="?", default=DEFAULT_SCORES, help="default: %(default)s")
    parser.add_argument("--format", choices=FORMATS, help="default: what the name behind --to ends in, else csv")
    parser.add_argument("--to", metavar="PATH", help="default: what is printed, but for parquet")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    store, target = Store(arguments.file), arguments.to and Path(arguments.to)
    if not store.path.is_file():
        raise ValueError(f"{store.path}: no such file of scores")
    form = arguments.format or (target.suffix[1:] if target and target.suffix[1:] in FORMATS else "csv")
    rows = [row(score) for score in store.newest().values()]
    if form == "parquet":
        if target is None:
            raise ValueError("parquet is not printed: name a file with --to")
        _write_parquet(rows, target)
    elif target is None:
        _write(rows, form, sys.stdout)
    else:
        with target.open("w", encoding="utf-8", newline="") as file:
            _write(rows, form, file)
    if target:
        put(shown(f"{target}: {len(rows)} scores"))
    return 0


def row(score: Score) -> dict[str, Any]:
    """The columns of `LEFT`; None where a score has none."""
    found = score.model_dump(mode="json")
    texts = {name: shown(value) if isinstance(value, str) else value for name, value in found.items()}
    return {name: params_of(score) if name == "params" else texts[name] for name in LEFT}


def _write(rows: Sequence[Mapping[str, Any]], form: str, file: TextIO) -> None:
    if form == "json":
        json.dump(list(rows), file, ensure_ascii=False, allow_nan=False, indent=0)
        file.write("\n")
        return
    writer = csv.DictWriter(file, LEFT, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _write_parquet(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.Table.from_pylist([dict(one) for one in rows], schema=_schema()), path)


def _schema() -> Any:
    """Types by name, since a column of nothing but None tells none."""
    import pyarrow as pa

    numbers = dict.fromkeys(("value", "ci_low", "ci_high", "floor", "ceiling", "l0", "fvu", "seconds"), pa.float64())
    whole = dict.fromkeys(("n", "d_sae", "seed", "version"), pa.int64())
    types = numbers | whole | {"control": pa.bool_()}
    return pa.schema([(name, types.get(name, pa.string())) for name in LEFT])
