"""How many rows a pass takes: as many as memory allows, halved where it does not suffice. Scores do not depend on it."""

import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import psutil
import torch

from saebench.record.naming import shown
from saebench.record.score import Unscored
from saebench.record.stages import progress

T = TypeVar("T")
MOST = 16
"""Contexts per pass: more are hardly faster."""
SHARE = 0.6
"""Of the free memory that a pass may take."""
WORDS = ("can't allocate memory", "out of memory", "ALLOC_FAILED")
COPIES = 6
"""Tables of logits that are alive at once, where a spliced pass is compared with a clean one."""


@dataclass
class Batch:
    """Contexts per pass of one model on one device."""

    size: int = MOST
    notes: list[str] = field(default_factory=list)
    """What a user should read: that memory did not suffice."""

    def over(self, count: int, run: Callable[[slice], T], size: int | None = None) -> list[T]:
        """The results of `run` for rows 0 to `count`, some at a time: `size`, or as many contexts as fit."""
        done, start = list[T](), 0
        now, before = size or self.size, (self.size, list(self.notes))
        while start < count:
            try:
                done.append(run(slice(start, min(start + now, count))))
                start += now
                if size is None:
                    progress(min(start, count), count)
            except (torch.OutOfMemoryError, MemoryError, RuntimeError, Unscored) as error:
                if not out_of_memory(error):
                    raise
                if now == 1 and isinstance(error, Unscored):
                    self.size, self.notes[:] = before  # an SAE that fits in no way says nothing about others
                    raise
                if now == 1:
                    said = f"memory does not suffice for a single one: {type(error).__name__}: {error}"
                    raise Unscored(shown(said)) from error
                now = self._halved(now, contexts=size is None)
        return done

    def _halved(self, now: int, *, contexts: bool) -> int:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        note = f"memory did not suffice for {now} {'contexts' if contexts else 'rows'} at a time: {now // 2}"
        self.notes += [] if note in self.notes else [note]
        if contexts:
            self.size = now // 2
        return now // 2


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: on a CPU, and by CUDA's libraries, torch raises a RuntimeError for it.

    In an SAE's own code it is the cause of what the guard says.
    """
    cause = error.__cause__ if isinstance(error, Unscored) else error
    ran_out = isinstance(cause, torch.OutOfMemoryError | MemoryError)
    return cause is not None and (ran_out or any(word in str(error) for word in WORDS))


def free_memory(device: str) -> int:
    """Bytes that can be had on a device."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    return int(psutil.virtual_memory().available)


def all_memory(device: str) -> int:
    """Bytes that a device has, whatever else is in them now."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(torch.device(device))[1])
    return int(psutil.virtual_memory().total)


def contexts_that_fit(device: str, positions: int, vocabulary: int) -> int:
    """Contexts per pass whose logits fit into the free memory of a device."""
    one = positions * vocabulary * 4 * COPIES
    return max(1, min(MOST, int(SHARE * free_memory(device)) // one))
