"""`saebench sweep`: many SAEs on many machines."""

import argparse
from pathlib import Path

from saebench.commands import Commands, put
from saebench.record.budget import BUDGETS
from saebench.sweep.asked import PASSED, Asked, given
from saebench.sweep.sweep import Request, sweep


def add(commands: Commands) -> None:
    parser = commands.add_parser("sweep", help="measure many SAEs on many machines, with Ray")
    parser.add_argument("--sae", action="append", required=True, metavar="SPEC", help="as for pytest; repeatable")
    parser.add_argument("--to", required=True, metavar="DIR", help="folder for scores.jsonl, and jobs/ with their logs")
    parser.add_argument(
        "--suites", nargs="+", default=[], metavar="PATH", help="files or folders (default: all suites)"
    )
    for name, metavar in PASSED.items():
        choices = list(BUDGETS) if name == "budget" else None
        parser.add_argument(f"--sae-{name}", metavar=metavar, choices=choices, help="as for pytest")
    parser.add_argument("--ray", metavar="ADDRESS", help="cluster to join (default: one is started here)")
    parser.add_argument(
        "--workers", type=int, metavar="N", help="jobs at once (default: one per GPU, or per two cores)"
    )
    parser.add_argument("--gpus-per-worker", type=float, metavar="F", help="as 0.5 (default: 1 where there are GPUs)")
    parser.add_argument("--retries", type=int, default=2, metavar="N", help="of a job that was killed (default: 2)")
    parser.add_argument("--plan", action="store_true", help="say what would be done, and stop")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    _check(arguments)
    options = [(name, getattr(arguments, f"sae_{name.replace('-', '_')}")) for name in PASSED]
    request = Request(
        arguments.sae, Asked(tuple(arguments.suites), given(options)), Path(arguments.to), arguments.ray,
        arguments.workers, arguments.gpus_per_worker, arguments.retries, arguments.plan,
    )  # fmt: skip
    return sweep(request, put)


def _check(arguments: argparse.Namespace) -> None:
    """Raise ValueError where a number is out of range."""
    for name, least in (("workers", 1), ("retries", 0)):
        value = getattr(arguments, name)
        if value is not None and value < least:
            raise ValueError(f"--{name} {value}: expected {least} or more")
    share = arguments.gpus_per_worker
    if share is not None and not (0 <= share <= 1 or share == int(share) > 1):
        raise ValueError(f"--gpus-per-worker {share:g}: expected a part of one, as 0.5, or a whole number")
