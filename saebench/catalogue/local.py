"""What lies on this machine by name: a path as a name that can be given back, and patterns of paths with an end."""

import hashlib
import itertools
import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from urllib.parse import quote, unquote_to_bytes

from saebench.catalogue.folders import spec_from_folder
from saebench.catalogue.spec import SAESpec
from saebench.record.naming import shown

PREFIX = "local/"
LONGEST = 200
"""Characters of a path in a name; of a longer one, the name has the hash and the end."""
MOST = 30_000
"""Files and folders that a pattern looks through, which takes less than a second."""
MAGIC = frozenset("*?[")


def local_name(path: Path) -> str:
    """`local/` and the path below the working folder, else the whole path, in letters that are safe wherever it stands.

    One place has one name, however it was reached, and no two places share one.
    """
    here, there = Path.cwd(), path.resolve()
    # A link to a file that is called otherwise, as in the hub's cache, says by its own name what the file is.
    there = there if there.suffix == path.suffix else path.parent.resolve() / path.name
    found = quote(os.fsencode(there.relative_to(here) if here in there.parents else there), safe="/+")
    found = found.replace("~", "%7E")  # behind which a control would stand
    if len(found) > LONGEST:
        found = f"{hashlib.sha256(os.fsencode(there)).hexdigest()[:12]}/{found[-LONGEST // 2 :].lstrip('/')}"
    return PREFIX + found


def path_of(name: str) -> str:
    """The path that a name of `local_name` stands for."""
    return os.fsdecode(unquote_to_bytes(name.removeprefix(PREFIX)))


def read_local(path: Path, name: str) -> SAESpec:
    """The SAE in a folder or file. One that cannot be read says so when it is asked for: it may be one of several."""
    try:
        return spec_from_folder(path, name)
    except (ValueError, OSError) as error:
        return SAESpec(name, "unreadable", str(path), facts={"unreadable": shown(str(error))})


def matches(folder: Path, pattern: str) -> list[Path]:
    """Paths that a pattern names, below a folder if it is relative; `**` is any depth, and follows no links.

    Raises ValueError with one sentence where more than `MOST` would have to be looked at.
    """
    looked, found = itertools.count(1), [folder]
    for part in PurePath(pattern).parts:
        found = list(dict.fromkeys(path for above in found for path in _step(above, part, looked)))
    return found


def _step(folder: Path, part: str, looked: Iterator[int]) -> Iterator[Path]:
    if part == "**":
        yield folder
        for entry in _entries(folder, looked):
            if entry.is_dir(follow_symlinks=False):
                yield from _step(Path(entry.path), part, looked)
    elif MAGIC & set(part):
        for entry in _entries(folder, looked):
            if fnmatchcase(entry.name, part) and entry.name.startswith(".") <= part.startswith("."):
                yield Path(entry.path)
    elif os.path.exists(folder / part):  # noqa: PTH110 -- False for whatever is no name of a file
        yield folder / part


def _entries(folder: Path, looked: Iterator[int]) -> Iterator["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if next(looked) > MOST:
                    raise ValueError(
                        f"it looks through more than {MOST} files and folders: name a folder nearer to the SAEs"
                    )
                yield entry
    except OSError:  # no folder, or a closed one
        return


def constant(pattern: str) -> str:
    """The part of a pattern before the first folder that is none of one name; what it names is told apart by the rest."""
    parts = PurePath(pattern).parts
    plain = list(itertools.takewhile(lambda part: not MAGIC & set(part), parts))
    return str(PurePath(*plain[: len(parts) - 1]))
