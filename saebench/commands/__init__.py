"""The commands, one file each with `add` and `run`, and what several of them share."""

import argparse
from collections.abc import Sequence
from typing import TypeAlias

from tabulate import tabulate

from saebench.record.naming import shown, shown_lines
from saebench.record.score import Score

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
DEFAULT_SCORES = ".saebench/scores.jsonl"


def title(score: Score) -> str:
    return f"{score.property} ({params})" if (params := params_of(score)) else score.property


def params_of(score: Score) -> str:
    """`concepts=letters`, and so on."""
    return ", ".join(f"{key}={value}" for key, value in sorted(score.params.items()))


def table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> str:
    cells = [[shown(cell) for cell in row] for row in rows]
    return tabulate(cells, header, tablefmt="simple", disable_numparse=True)


def put(text: str) -> None:
    """Print what a command has to say, without what would steer a terminal."""
    print(shown_lines(text), flush=True)
