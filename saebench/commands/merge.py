"""`saebench merge`: scores files of several machines to one."""

import argparse
from pathlib import Path

from saebench.commands import Commands, put
from saebench.exchange.merging import merge
from saebench.record.naming import shown


def add(commands: Commands) -> None:
    parser = commands.add_parser("merge", help="join scores files of several machines")
    parser.add_argument("files", nargs="+", metavar="FILE", help="scores files")
    parser.add_argument("--to", metavar="OUT", required=True, help="scores file to write; it may be one of the files")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    merged = merge([Path(file) for file in arguments.files], Path(arguments.to))
    saes = len({line.score.sae for line in merged.lines})
    put(f"{arguments.to}: {len(merged.lines)} scores of {saes} SAEs, {merged.repeated} of them in several files")
    for note in merged.notes:
        put(shown(note))
    return 0
