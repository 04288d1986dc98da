"""`saebench COMMAND`: the commands by name, and their exit codes. No torch."""

import argparse
import os
import sys
from collections.abc import Sequence

from saebench.commands import compare, doctor, export, fetch, frame, ls, merge, publish, show, sweep, verify
from saebench.record.naming import shown
from saebench.record.version import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 is success, 1 a page or a score that does not hold, 4 a bad name or file."""
    arguments = parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        print(f"saebench: {shown(str(error))}", file=sys.stderr)
        return 4


def parser() -> argparse.ArgumentParser:
    """All commands with their arguments."""
    found = argparse.ArgumentParser(
        prog="saebench", description="What SAEs there are, what was measured on them, and the pages that show it."
    )
    found.add_argument("--version", action="version", version=f"saebench {__version__}")
    commands = found.add_subparsers(required=True, metavar="COMMAND")
    for command in (doctor, ls, fetch, sweep, show, compare, frame, merge, verify, publish, export):
        command.add(commands)
    return found
