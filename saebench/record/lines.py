"""The lines of a scores file as they lie on disk, and what a killed process left behind them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from pydantic_core import from_json

from saebench.record.atomic import found

LONGEST = 2**24
"""Bytes of the longest line that is read: a score has some thousand, and a file of weights may have no line at all."""
BOM = b"\xef\xbb\xbf"
"""What some editors begin a file of UTF-8 with."""
BEGINNING = b'{"schema":1,"property":"'
"""How a score begins, by which an unfinished one is known where it is alone in its file."""
LAST = 64
"""Bytes by which a place in a file is known again."""
OTHERS = {
    b"\xff\xfe": "it is UTF-16, so save it as UTF-8", b"\xfe\xff": "it is UTF-16, so save it as UTF-8",
    b"\x1f\x8b": "it is compressed, so unpack it with gunzip", b"PK\x03\x04": "it is a zip file, so unpack it",
}  # fmt: skip


class Line(NamedTuple):
    number: int
    start: int
    """Where in the file it begins."""
    text: bytes
    """With its line end, if it has one."""

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclass(frozen=True)
class Place:
    """How far a file was read: what stands before it is known, so that only what came later has to be looked at."""

    device: int = 0
    inode: int = 0
    end: int = 0
    number: int = 0
    """Of the last line before it."""
    last: bytes = b""
    """The bytes before it."""

    def after(self, line: Line) -> "Place":
        return replace(self, end=line.end, number=line.number, last=line.text[-LAST:])

    def in_file(self, path: Path) -> "Place | None":
        """This place, if it is still there; else the file's beginning, and None where there is no file."""
        known = found(path, "a scores file")
        if known is None:
            return None
        same = (known.st_dev, known.st_ino) == (self.device, self.inode) and known.st_size >= self.end
        return self if same and self._is_before(path) else Place(known.st_dev, known.st_ino)

    def _is_before(self, path: Path) -> bool:
        with path.open("rb") as file:
            file.seek(self.end - len(self.last))
            return file.read(len(self.last)) == self.last


def whole_lines(path: Path, place: Place) -> Iterator[Line]:
    """The lines after a place that hold something, but for a last one that a killed process left unfinished.

    Raises ValueError at a line that no score can be.
    """
    number, start, held = place.number, place.end, None
    with path.open("rb") as file:
        file.seek(start)
        while text := file.readline(LONGEST + 1):
            number += 1
            if len(text) > LONGEST:
                raise ValueError(
                    f"{path}, line {number} is not a score (longer than {LONGEST:,} bytes): name another file"
                )
            if text.removeprefix(BOM).strip():
                if held is not None:
                    yield held
                held = Line(number, start, text)
            start += len(text)
    if held is not None and not unfinished(held.text, alone=held.number == 1):
        yield held


def unfinished(text: bytes, *, alone: bool) -> bool:
    """Whether a last line is what a killed process leaves: the beginning of a JSON object, or zeros for it."""
    begun = text.strip(b"\0 \t\r\n")
    if alone:
        return bool(begun) and begun[: len(BEGINNING)] == BEGINNING[: len(begun)] and _ends_early(begun)
    return not begun or (begun.startswith(b"{") and _ends_early(begun))


def _ends_early(text: bytes) -> bool:
    try:
        from_json(text.decode(errors="ignore"))  # a character may have been cut through
    except ValueError as error:
        return str(error).startswith("EOF while parsing")
    return False


def why_not(text: bytes) -> str:
    """What a line is that is no score; empty where it does not tell."""
    kind = next((said for magic, said in OTHERS.items() if text.startswith(magic)), "")
    old_mac = "its lines end as on old Macs, so replace each \\r by \\n"
    return kind or (old_mac if b"\r" in text.strip() else "")


def moved_aside(path: Path, place: Place) -> Path | None:
    """Move what is unfinished behind a place into a file of its own beside it; None where nothing is."""
    with path.open("r+b") as file:
        file.seek(place.end)
        rest = file.read()
        if not rest.removeprefix(BOM).strip():
            return None
        target = _free(path)
        with target.open("xb") as kept:
            kept.write(rest)
            kept.flush()
            os.fsync(kept.fileno())
        file.truncate(place.end)
    return target


def _free(path: Path) -> Path:
    """A name that nothing has."""
    number = 1
    while (target := path.with_name(f"{path.name}.torn-{number}")).exists():
        number += 1
    return target
