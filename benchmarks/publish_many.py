"""Boards of a sweep: how long `saebench publish`, `merge`, `show` and `compare` take with many scores, and how much memory.

`python benchmarks/publish_many.py SAES …` prints a line of JSON per command and size. The scores are those of the embedded
model's board under new names: each SAE is a copy of one of its SAEs, on one of six hooks, its values moved by a tenth of
what the board's SAEs span. `--own-items` gives each score items of its own, as a real sweep has them; else copies share
those of the SAE that they are a copy of. `--files N` splits the scores into as many files, which `merge` joins.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from saebench.catalogue.suites import headlines
from saebench.record import items
from saebench.record.columns import Column, current_scores
from saebench.record.places import suites_dir
from saebench.record.score import Score
from saebench.record.store import Store

BOARD = Path(__file__).parent.parent / "leaderboards/organism.jsonl"
HOOKS, PROPERTIES, MOVED = 6, 50, 0.1
"""The last is of what the board's SAEs span."""


def columns_of(scores: Sequence[Score]) -> list[Column]:
    """Those of the first screen, then one of each family in turn."""
    families: dict[str, list[Column]] = {}
    for column in dict.fromkeys(map(Column.of, scores)):
        families.setdefault(column.family, []).append(column)
    in_turn = [column for some in zip_longest(*families.values()) for column in some if column]
    asked = headlines(suites_dir())
    first = [
        next(column for column in in_turn if column.name == name) for name in asked if name in {c.name for c in in_turn}
    ]
    return list(dict.fromkeys([*first, *in_turn]))[:PROPERTIES]


def many(saes: int) -> Iterator[Score]:
    """Scores of as many SAEs; equal arguments give equal scores."""
    board = [score for score in current_scores(Store(BOARD).read()) if not score.control]
    columns = columns_of(board)
    cells = {(score.sae, Column.of(score)): score for score in board}
    names = list(dict.fromkeys(score.sae for score in board))
    spans = {
        column: np.ptp(
            [score.value for score in board if Column.of(score) == column and score.value is not None] or [0]
        )
        for column in columns
    }
    rng = np.random.default_rng(0)
    for number in range(saes):
        base, grown = names[number % len(names)], float(rng.uniform(0.8, 1.25))
        for column in columns:
            if (base, column) in cells:
                moved = float(rng.normal(0, MOVED)) * float(spans[column])
                yield _copy(cells[base, column], number, grown, moved)


def _copy(score: Score, number: int, grown: float, moved: float) -> Score:
    ends = {name: end + moved for name in ("value", "ci_low", "ci_high") if (end := getattr(score, name)) is not None}
    hook = number % HOOKS
    named = {
        "sae": f"{score.sae}/layer-{hook}/{number}",
        "sae_digest": f"{number:064x}",
        "hook": f"blocks.{hook}.hook_resid_post",
    }
    return score.model_copy(update={**named, **ends, "l0": None if score.l0 is None else score.l0 * grown})


def write(folder: Path, saes: int, *, own_items: bool, files: int) -> list[Path]:
    """Scores files, each of whole SAEs."""
    folder.mkdir(parents=True)
    stores = [Store(folder / f"part-{number}.jsonl") for number in range(files)]
    board, rng = Store(BOARD), np.random.default_rng(1)
    with contextlib.ExitStack() as opened:
        open_files = [opened.enter_context(store.path.open("w")) for store in stores]
        for score in many(saes):
            place = int(score.sae.rpartition("/")[2]) % files
            own = _own_items(stores[place], board, score, rng) if own_items and score.items else score
            open_files[place].write(own.to_line() + "\n")
    for store in stores if not own_items else []:
        store.items_dir.symlink_to(board.items_dir)
    return [store.path for store in stores]


def _own_items(store: Store, board: Store, score: Score, rng: np.random.Generator) -> Score:
    arrays = dict(board.load_items(score))
    for name, array in arrays.items():
        if name == "contribution":
            arrays[name] = array + rng.normal(0, MOVED * float(array.std()) + 1e-9, len(array))
    return score.model_copy(update={"items": items.write(store.items_dir, arrays)})


def measured(arguments: Sequence[str]) -> dict[str, Any]:
    """Seconds and gigabytes of one command, in a process of its own."""
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "saebench", *arguments], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    return {
        "wall": round(time.perf_counter() - begun, 1), "cpu": round(used.ru_utime + used.ru_stime, 1),
        "peak_gb": round(used.ru_maxrss * 1024 / 1e9, 2), "exit": os.waitstatus_to_exitcode(status),
    }  # fmt: skip


def commands(folder: Path, paths: Sequence[Path]) -> dict[str, list[str]]:
    """What is timed, by name. Files are joined first, and what is published is what they hold together."""
    joined = folder / "board" / "many.jsonl"
    some = next(many(1)).sae
    return {
        "merge": ["merge", *map(str, paths), "--to", str(joined)],
        "publish": ["publish", "--to", str(joined.parent)],
        "check": ["publish", "--check", "--to", str(joined.parent)],
        "show": ["show", some, "--scores", str(joined)],
        "compare": ["compare", str(joined), str(joined)],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("saes", nargs="*", type=int, default=[600, 2000, 6000])
    parser.add_argument("--own-items", action="store_true")
    parser.add_argument("--files", type=int, default=1)
    parser.add_argument(
        "--only", nargs="*", default=["publish", "check", "show"], help="and merge, which comes first, and compare"
    )
    given = parser.parse_args()
    for saes in given.saes:
        with tempfile.TemporaryDirectory() as temporary:
            paths = write(Path(temporary) / "made", saes, own_items=given.own_items, files=given.files)
            for name, arguments in commands(Path(temporary), paths).items():
                if name in ("merge", *given.only):
                    print(json.dumps({"command": name, "saes": saes, **measured(arguments)}), flush=True)


if __name__ == "__main__":
    main()
