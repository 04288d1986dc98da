"""`saebench export`: scores as the JSON files that SAEBench publishes."""

import argparse
import json
from collections import Counter
from pathlib import Path

from saebench.commands import Commands, put
from saebench.exchange.saebench_json import export
from saebench.record.naming import shown
from saebench.record.store import Store


def add(commands: Commands) -> None:
    parser = commands.add_parser("export", help="write scores as SAEBench's JSON, where both measure the same")
    parser.add_argument("file", metavar="FILE", help="scores file")
    parser.add_argument("--to", metavar="DIR", required=True, help="folder for core/, absorption/, tpp/ and others")
    parser.add_argument(
        "--gaps", action="store_true", help="write core too, with -1 for what is not measured (default: off)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    store, target = Store(arguments.file), Path(arguments.to)
    if not store.path.is_file():
        raise ValueError(f"{store.path}: no such file of scores")
    exported = export(store, gaps=arguments.gaps)
    for name, document in exported.documents.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
        (target / name).write_text(text + "\n", encoding="utf-8")
    for folder, count in Counter(name.partition("/")[0] for name in exported.documents).items():
        put(f"{target / folder}: {count} SAEs")
    for (folder, reason), saes in exported.left_out.items():
        names = f"{len(saes)} SAEs" if len(saes) > 1 else saes[0]
        put(shown(f"{folder} of {names} is not written: it {reason}"))
    if not exported.documents:
        raise ValueError(f"{store.path}: nothing of it can be written as SAEBench's JSON")
    return 0
