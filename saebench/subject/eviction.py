"""Room in a cache that has a limit: the least recently used entries go, and none that anyone is reading or writing.

An entry is in use while its lock is held, which is for as long as it is read or made; the system takes the lock of a process
that was killed. When it was used last is the time of its seal, which is set at every use: a disk's own time of access is
often not kept.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from saebench.record.atomic import locked

TENSORS, SEAL, LOCK = ".safetensors", ".sha256", ".lock"


class Entry(NamedTuple):
    used: int
    """When it was used last, in nanoseconds."""
    key: str
    size: int


@contextlib.contextmanager
def room(folder: Path, size: int, limit: int) -> Iterator[None]:
    """Within it, and nowhere else at the same time, as many bytes may be written into a folder.

    What is in use stays, so that a folder may be above its limit until that is over.
    """
    with locked(FileLock(folder / f"evicting{LOCK}")):
        held = sorted(entries(folder))
        above = sum(entry.size for entry in held) + size - limit
        for entry in held:
            if above > 0 and _removed(folder, entry):
                above -= entry.size
        yield


def entries(folder: Path) -> Iterator[Entry]:
    """What a cache holds; an entry that is being removed meanwhile may be missing."""
    for path in folder.glob(f"*{TENSORS}"):
        with contextlib.suppress(FileNotFoundError):
            yield Entry(_used(path), path.stem, path.stat().st_size)


def _used(path: Path) -> int:
    seal = path.with_suffix(SEAL)
    return (seal if seal.exists() else path).stat().st_mtime_ns


def _removed(folder: Path, entry: Entry) -> bool:
    """Remove an entry, if nobody holds it and nobody has used it since it was looked at."""
    path = folder / f"{entry.key}{TENSORS}"
    # A lock that is held is an OSError, and so is an entry of others that may not be removed.
    with contextlib.suppress(OSError), locked(FileLock(folder / f"{entry.key}{LOCK}", timeout=0)):
        if _used(path) == entry.used:
            # The seal first: tensors without one are no entry.
            path.with_suffix(SEAL).unlink(missing_ok=True)
            path.unlink()
            return True
    return False
