"""`saebench ls`: the SAEs that there are."""

import argparse

from saebench.commands import Commands, put
from saebench.hub.listing import listed


def add(commands: Commands) -> None:
    parser = commands.add_parser("ls", help="list the SAEs that --sae can name")
    parser.add_argument("pattern", nargs="?", default="", help="as for pytest --sae (default: all families)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    put(listed(arguments.pattern))
    return 0
