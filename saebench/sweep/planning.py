"""Which SAEs go together: those of one model and hook, whose activations are then computed once."""

import re
from bisect import bisect_left
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import ceil, sqrt
from typing import TypeVar

from saebench.catalogue.spec import SAESpec

T = TypeVar("T")
SLACK = 0.1
"""Share of a part by which it may be larger or smaller so that SAEs of one hook stay together."""
SETUP = 30.0
"""Seconds of a job before its first test: a process starts, a model is loaded, and a hook's activations are read."""


@dataclass(frozen=True)
class Wanted:
    """An SAE that is to be measured, and how long that may take."""

    sae: str
    model: str
    hook: str
    seconds: float


@dataclass(frozen=True)
class Job:
    """SAEs of one model and hook that one process measures."""

    name: str
    model: str
    hook: str
    saes: tuple[str, ...]
    seconds: float
    """How long it may take, with its start."""


def place_of(spec: SAESpec) -> tuple[str, str]:
    """Model and hook as its name says them, so that all machines agree; empty where only its files can tell."""
    return spec.own.model or "", spec.own.hook or ""


def planned(wanted: Sequence[Wanted], workers: int, prefix: str = "") -> list[Job]:
    """Jobs for some workers, the longest first."""
    groups = together([((one.model, one.hook), one) for one in wanted])
    most = _longest(sum(one.seconds for one in wanted), workers)
    pieces = [piece for group in groups for piece in _pieces(group, most)]
    pieces.sort(key=_seconds, reverse=True)
    return [_job(f"{prefix}{number:04d}", piece) for number, piece in enumerate(pieces, 1)]


def _longest(total: float, workers: int) -> float:
    """Seconds of SAEs in a job.

    Of jobs that take `s`, each worker has `total / workers / s`, each with its start; and half of one on the average is what
    a worker waits at the end for the last. The sum is least where both are alike.
    """
    share = total / workers
    return min(share, sqrt(2 * SETUP * share))


def _pieces(group: list[Wanted], most: float) -> list[list[Wanted]]:
    parts = min(len(group), max(1, ceil(sum(one.seconds for one in group) / most - 1e-9)))
    return cut(group, [one.seconds for one in group], parts)


def _seconds(piece: list[Wanted]) -> float:
    return SETUP + sum(one.seconds for one in piece)


def _job(name: str, piece: list[Wanted]) -> Job:
    return Job(name, piece[0].model, piece[0].hook, tuple(one.sae for one in piece), _seconds(piece))


def together(keyed: Iterable[tuple[Hashable, T]]) -> list[list[T]]:
    """What has one key, in the order of first appearance."""
    groups: dict[Hashable, list[T]] = {}
    for key, one in keyed:
        groups.setdefault(key, []).append(one)
    return list(groups.values())


def cut(things: Sequence[T], costs: Sequence[float], parts: int, seams: Sequence[int] = ()) -> list[list[T]]:
    """Cut a row into parts of about equal cost, none of them empty; at a seam where one is near enough."""
    reached = [0.0, *accumulate(costs)]
    share, bounds = reached[-1] / parts, [0]
    for number in range(1, parts):
        aim = share * number
        near = [seam for seam in seams if abs(reached[seam] - aim) <= SLACK * share]
        at = min(near, key=lambda seam: abs(reached[seam] - aim)) if near else _nearest(reached, aim)
        bounds.append(min(max(at, bounds[-1] + 1), len(things) - parts + number))
    return [list(things[start:end]) for start, end in pairwise([*bounds, len(things)])]


def _nearest(reached: Sequence[float], aim: float) -> int:
    after = bisect_left(reached, aim)
    return after if after == 0 or reached[after] - aim < aim - reached[after - 1] else after - 1


def shards(specs: Sequence[SAESpec], count: int) -> list[list[SAESpec]]:
    """SAEs in parts of about equal number, those of one hook together as far as that allows.

    It depends on nothing but the list, so that machines that never talk to each other agree.
    """
    groups = together([(place_of(spec), spec) for spec in specs])
    row = [spec for group in groups for spec in group]
    return cut(row, [1.0] * len(row), count, list(accumulate(map(len, groups))))


def shard(specs: Sequence[SAESpec], asked: str) -> list[SAESpec]:
    """The part that `3/16` names. Raises ValueError with one sentence where it names none."""
    said = f"--sae-shard {asked}"
    found = re.fullmatch(r"(\d{1,9})/([1-9]\d{0,8})", asked, re.ASCII)
    if found is None:
        raise ValueError(f"{said}: expected NUMBER/COUNT, as in 3/16")
    number, count = map(int, found.groups())
    if not 1 <= number <= count:
        raise ValueError(f"{said}: the first of {count} shards is 1/{count}, and the last {count}/{count}")
    if count > len(specs):
        raise ValueError(f"{said}: there are {len(specs)} SAEs, so at most {len(specs)} shards have any")
    return shards(specs, count)[number - 1]
