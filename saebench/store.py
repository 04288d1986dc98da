"""Scores on disk: one JSON line each, appended the moment it exists; per-item values in content-addressed files."""

import contextlib
import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from filelock import FileLock

from saebench.score import Score

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[np.generic]]


class Store:
    """A JSONL file of scores and the folder `<file without .jsonl>.items/` beside it.

    Several processes may append to the same file. Reading takes no lock, so that a baseline can lie in a
    read-only checkout.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.items_dir = self.path.with_name(self.path.name.removesuffix(".jsonl") + ".items")
        self._lock = FileLock(f"{self.path}.lock")

    def append(self, score: Score, items: Mapping[str, Any] | None = None) -> Score:
        """Write one score, its per-item values first; return the score with `items` set to their address."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if items:
                score = score.model_copy(update={"items": self._save_items(items)})
            with self._lock:
                self._mend()
                with self.path.open("ab") as file:
                    _write_through(file, score.to_line().encode() + b"\n")
        except OSError as error:
            raise OSError(f"{self.path}: a score cannot be written: {error.strerror or error}") from error
        return score

    def repair(self) -> int:
        """Cut off a line that a killed process left unfinished; return how many bytes were dropped."""
        if not self.path.exists():
            return 0
        with self._lock:
            return self._mend()

    def read(self) -> list[Score]:
        """Return all scores in file order, without an unfinished last line; an absent file holds none."""
        return list(self.numbered().values())

    def numbered(self) -> dict[int, Score]:
        """Map line number to score, as `read` does."""
        return {number: self._parse(number, line) for number, line in self.lines()}

    def lines(self) -> list[tuple[int, bytes]]:
        """Return the numbered lines that a score should stand on."""
        data = self.path.read_bytes() if self.path.exists() else b""
        # Bytes, not str.splitlines: names may hold U+2028 and the like, which JSON does not escape.
        lines = data[: _end_of_whole_lines(data)].split(b"\n")
        return [(number, line) for number, line in enumerate(lines, 1) if line.strip()]

    def newest(self) -> dict[str, Score]:
        """Map identity to the last line of that identity, in order of first appearance."""
        return {score.identity(): score for score in self.read()}

    def load_items(self, score: Score) -> "Arrays":
        """Return the per-item values of a score, verified against their address; empty if it has none."""
        if score.items is None:
            return {}
        path = self._items_path(score.items)
        arrays = _read_npz(path)
        if content_address(arrays) != score.items:
            raise ValueError(f"{path} does not hold what its name says; score {score.property}[{score.sae}] again")
        return arrays

    def copy_to(self, target: str | os.PathLike[str]) -> None:
        """Write the newest scores and the items they point to; remove items in the target that none points to."""
        other = Store(target)
        other.path.parent.mkdir(parents=True, exist_ok=True)
        # Copying onto itself compacts the file, and an append in between must not be lost.
        with self.locked() if other.path.resolve() == self.path.resolve() else contextlib.nullcontext():
            other.replace([(score, self) for score in self.newest().values()])

    def locked(self) -> contextlib.AbstractContextManager[object]:
        """Let nothing be appended meanwhile; a file that does not exist needs no lock."""
        return self._lock if self.path.exists() else contextlib.nullcontext()

    def replace(self, scores: "Sequence[tuple[Score, Store]]") -> None:
        """Hold these scores and no others, with the items that each has in the store beside it.

        Whoever reads meanwhile finds the old file or the new one. Raises ValueError, before anything is written, if
        items are missing or damaged.
        """
        with_items = [(score, source) for score, source in scores if score.items is not None]
        for score, source in with_items:
            source.load_items(score)
        try:
            for score, source in with_items:
                path, own = (store._items_path(score.items or "") for store in (source, self))
                if not own.exists() or not own.samefile(path):
                    _write_atomically(own, path.read_bytes())
            _write_atomically(self.path, compacted([score for score, _ in scores]).encode())
        except OSError as error:
            raise OSError(f"{self.path} cannot be written: {error.strerror or error}") from error
        self._remove_items_except({score.items for score, _ in scores})

    def _parse(self, number: int, line: bytes) -> Score:
        try:
            return Score.from_line(line.decode())
        except ValueError as error:
            cause = str(error).splitlines()[0]
            advice = "correct or delete that line, or name another file"
            raise ValueError(f"{self.path}, line {number} is not a score ({cause}): {advice}") from None

    def _mend(self) -> int:
        data = self.path.read_bytes() if self.path.exists() else b""
        end = _end_of_whole_lines(data)
        if end == len(data) and data and not data.endswith(b"\n"):
            # Only the newline is missing: an editor's habit, or a write cut off one byte before its end.
            with self.path.open("ab") as file:
                _write_through(file, b"\n")
        elif end < len(data):
            os.truncate(self.path, end)
        return len(data) - end

    def _save_items(self, items: Mapping[str, Any]) -> str:
        import numpy as np

        arrays: Arrays = {name: np.asarray(values) for name, values in items.items()}
        if objects := sorted(name for name, array in arrays.items() if array.dtype.hasobject):
            raise ValueError(f"items {', '.join(objects)} hold Python objects; give numbers, booleans or strings")
        address = content_address(arrays)
        with _replacing(self._items_path(address)) as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        return address

    def _items_path(self, address: str) -> Path:
        if not re.fullmatch(r"[0-9a-f]{24}", address):
            raise ValueError(f"{self.path}: {address!r} is not an address of items; score that property again")
        return self.items_dir / f"{address}.npz"

    def _remove_items_except(self, addresses: set[str | None]) -> None:
        for path in self.items_dir.glob("*.npz"):
            if path.stem not in addresses:
                path.unlink()
        if self.items_dir.is_dir() and not any(self.items_dir.iterdir()):
            self.items_dir.rmdir()


def compacted(scores: list[Score]) -> str:
    """Text of a scores file that holds these scores."""
    return "".join(score.to_line() + "\n" for score in scores)


def content_address(arrays: "Arrays") -> str:
    """Hash names, dtypes, shapes and bytes, rather than a zip file: equal arrays have equal addresses."""
    import numpy as np

    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode() + b"\0")
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:24]


def _read_npz(path: Path) -> "Arrays":
    import numpy as np

    if not path.is_file():
        raise ValueError(f"{path} is missing: restore it, or score that property again with --sae-fresh")
    try:
        # Opened here: np.load leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception:  # a torn zip file raises almost anything: BadZipFile, EOFError, zlib.error, ValueError
        raise ValueError(f"{path} is damaged: delete it and score that property again with --sae-fresh") from None


def _end_of_whole_lines(data: bytes) -> int:
    """Length of `data` without an unfinished last line. Whole JSON that lacks only its newline is finished."""
    start = data.rstrip(b"\r\n\t ").rfind(b"\n") + 1
    tail = data[start:]
    return len(data) if not tail.strip() or _is_json_object(tail) else start


def _is_json_object(text: bytes) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` that takes its place when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile: its files are readable by their owner alone, and these are published.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            _write_through(file, b"")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_atomically(path: Path, data: bytes) -> None:
    with _replacing(path) as file:
        file.write(data)


def _write_through(file: BinaryIO, data: bytes) -> None:
    file.write(data)
    file.flush()
    os.fsync(file.fileno())
