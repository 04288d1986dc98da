"""What a run is busy with, for whoever waits: long stages say so, and how far they are."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass
class Stage:
    what: str
    done: int = 0
    total: int = 0

    def __str__(self) -> str:
        return f"{self.what}, {self.done / self.total:.0%}" if self.total > 1 else self.what


_open: list[Stage] = []


@contextlib.contextmanager
def stage(what: str) -> Iterator[None]:
    """Something that may take long, within whatever is going on already."""
    _open.append(Stage(what))
    try:
        yield
    finally:
        _open.pop()


def progress(done: int, total: int) -> None:
    """How far the innermost stage is."""
    if _open:
        _open[-1].done, _open[-1].total = done, total


def current() -> str | None:
    """The innermost stage in words; None where nothing takes long."""
    return str(_open[-1]) if _open else None
