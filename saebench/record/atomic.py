"""Files that are whole or not there, and a look at what lies at a path before it is opened."""

import contextlib
import os
import re
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

KINDS = {
    stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket", stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}  # fmt: skip
HELD = re.compile(rb"(\d+\n.*)?", re.DOTALL)
"""What filelock leaves in a lock: nothing, or on a file system without locks the number of a process."""


def found(path: Path, what: str) -> os.stat_result | None:
    """What the system knows of a file, None where there is none.

    Raises ValueError where something else lies there: a device never ends, and a pipe waits for ever.
    """
    try:
        known = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    for is_kind, name in KINDS.items():
        if is_kind(known.st_mode):
            raise ValueError(f"{path} is {name}, and {what} is a file: name another")
    return known


@contextlib.contextmanager
def locked(lock: FileLock) -> Iterator[None]:
    """Hold a lock. Raises ValueError where something else lies in its place, which would be emptied."""
    path = Path(lock.lock_file)
    if found(path, "a lock of saebench") is not None:
        with path.open("rb") as file:
            if not HELD.fullmatch(file.read(300)):
                raise ValueError(f"{path} is no lock of saebench, and would be emptied: rename it")
    with lock:
        yield


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` that takes its place when the block ends well, and else is removed.

    `durable` is False for what is known by a seal, and computed anew where a failure of power has taken it.
    """
    path = Path(os.path.realpath(path))  # what a link points to is replaced, and not the link
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile: its files are readable by their owner alone, and these are published.
    temporary = _temporary(path)
    try:
        with temporary.open("xb") as file:
            yield file
            if durable:
                write_through(file, b"")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes, *, durable: bool = True) -> None:
    with replacing(path, durable=durable) as file:
        file.write(data)


def write_through(file: BinaryIO, data: bytes) -> None:
    file.write(data)
    file.flush()
    os.fsync(file.fileno())


def probe(folder: Path) -> None:
    """Raise OSError if no file can be written into a folder."""
    temporary = _temporary(folder / "probe")
    try:
        with temporary.open("xb") as file:
            write_through(file, b"\n")
    finally:
        temporary.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex}.tmp")
