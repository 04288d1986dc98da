"""Scores on disk: one JSON line each, appended the moment it exists; per-item values in content-addressed files."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from pydantic import ValidationError

from saebench.record import items as files
from saebench.record.atomic import found, locked, probe, write_atomically, write_through
from saebench.record.lines import BOM, Line, Place, moved_aside, whole_lines, why_not
from saebench.record.score import Score
from saebench.record.uncollected import uncollected

if TYPE_CHECKING:
    from saebench.record.items import Arrays


class Store:
    """A JSONL file of scores and the folder `<file without .jsonl>.items/` beside it.

    Several processes may append to the same file. Reading takes no lock, so that a baseline can lie in a
    read-only checkout, and changes nothing. A file that holds anything but scores is refused, and stays as it is.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.name:
            raise ValueError(f"{str(path)!r} is no name of a scores file")
        self.items_dir = self.path.with_name(self.path.name.removesuffix(".jsonl") + ".items")
        self.notes: list[str] = []
        """What was done to the file that a user should read."""
        self._lock = FileLock(f"{self.path}.lock")
        self._read_to = Place()

    def append(self, score: Score, items: Mapping[str, Any] | None = None) -> Score:
        """Write one score, its per-item values first; return the score with `items` set to their address."""
        with self._written(": a score cannot be written"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with locked(self._lock):
                end = self._settled()
                if items:
                    score = score.model_copy(update={"items": files.write(self.items_dir, items)})
                with self.path.open("ab") as file:
                    write_through(file, end + score.to_line().encode() + b"\n")
        return score

    def check_writable(self) -> None:
        """Raise ValueError or OSError, before anything is measured, where no score could be appended."""
        with self._written(": scores cannot be written there"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with locked(self._lock):
                probe(self.path.parent)
                if found(self.path, "a scores file") is not None:
                    self.path.open("ab").close()
                if self.items_dir.exists():
                    probe(self.items_dir)

    def read(self) -> list[Score]:
        """Return all scores in file order, without an unfinished last line; an absent file holds none."""
        return list(self.numbered().values())

    def numbered(self) -> dict[int, Score]:
        """Map line number to score, as `read` does."""
        with uncollected():
            return {line.number: score for line, score in self._scores()}

    def lines(self) -> list[tuple[int, bytes]]:
        """Return the numbered lines that a score should stand on."""
        return [(line.number, line.text) for line in self._lines(Place())]

    def newest(self) -> dict[str, Score]:
        """Map identity to the last line of that identity, in order of first appearance."""
        with uncollected():
            return {score.identity(): score for _, score in self._scores()}

    def stored(self) -> "Stored":
        """As `newest`, but scores are read when they are asked for: a file of years is opened in seconds."""
        return Stored(self.path, {score.identity(): line.start for line, score in self._scores()})

    def lost(self, scores: Iterable[Score]) -> str:
        """Say in a sentence what of these scores, which were recorded here, does not stand in the file; else nothing."""
        scores = list(scores)
        try:
            kept = {_key(score) for _, score in self._scores()}
        except (OSError, ValueError) as error:
            return f"{len(scores)} scores were recorded, and {error}"
        gone = sum(_key(score) not in kept for score in scores)
        said = f"{len(scores)} scores were recorded, and {gone} of them are not in {self.path}"
        return f"{said}: it was deleted or changed during the run, so run it again" if gone else ""

    def load_items(self, score: Score, *needed: str) -> "Arrays":
        """Return the per-item values of a score, verified against their address; empty if it has none.

        Arrays that are `needed` are there, are numbers, and are of one length; else, as for whatever is wrong with the
        file, this raises ValueError with one sentence.
        """
        return {} if score.items is None else files.read(self._items_path(score.items), needed)

    def copy_to(self, target: str | os.PathLike[str]) -> None:
        """Write the newest scores and the items they point to; remove items in the target that none points to."""
        other = Store(target)
        other.path.parent.mkdir(parents=True, exist_ok=True)
        # Copying onto itself compacts the file, and an append in between must not be lost.
        with self.locked() if other.path.resolve() == self.path.resolve() else contextlib.nullcontext():
            other.replace([(score, self) for score in self.newest().values()])

    def locked(self) -> contextlib.AbstractContextManager[object]:
        """Let nothing be appended meanwhile; a file that does not exist needs no lock."""
        return locked(self._lock) if self.path.exists() else contextlib.nullcontext()

    def replace(self, scores: "Sequence[tuple[Score, Store]]") -> None:
        """Hold these scores and no others, with the items that each has in the store beside it.

        Whoever reads meanwhile finds the old file or the new one. Raises ValueError, before anything is written, if
        items are missing or damaged, or if what would be replaced is no file of scores.
        """
        with_items = {(score.items, source.items_dir): score for score, source in scores if score.items is not None}
        sources = {source.items_dir: source for _, source in scores}
        for (_, folder), score in with_items.items():
            sources[folder].load_items(score)
        with self._written(" cannot be written"):
            self._settled()
            self._copy_items({str(address): folder for address, folder in with_items})
            write_atomically(self.path, compacted([score for score, _ in scores]).encode())
            self._remove_items_except({score.items for score, _ in scores})

    def _copy_items(self, folders: Mapping[str, Path]) -> None:
        """Copy items by their address from the folder that has them, so that they outlive a failure of power."""
        added = False
        for address, folder in folders.items():
            path, own = folder / f"{address}.npz", self._items_path(address)
            there = own.exists()
            if not there or not own.samefile(path):
                # One by one, thousands would take minutes; what no score has pointed to yet can wait for all the others.
                write_atomically(own, path.read_bytes(), durable=there)
                added = added or not there
        if added:
            os.sync()

    def _lines(self, place: Place) -> Iterator[Line]:
        if found(self.path, "a scores file") is not None:
            yield from whole_lines(self.path, place)

    def _scores(self) -> Iterator[tuple[Line, Score]]:
        """All lines with their scores; the file is known afterwards as far as it was read."""
        self._read_to = Place()
        return self._later_scores()

    def _later_scores(self) -> Iterator[tuple[Line, Score]]:
        """Lines that were written since the file was last read, or all where it is another file by now."""
        place, line = self._read_to.in_file(self.path) or Place(), None
        fields = set[str]()
        for line in self._lines(place):
            score = self._parse(line)
            fields = score.share_fields(fields)
            yield line, score
        self._read_to = place.after(line) if line is not None else place

    def _parse(self, line: Line) -> Score:
        try:
            return Score.from_line(line.text.removeprefix(BOM).decode() if line.number == 1 else line.text.decode())
        except ValueError as error:
            cause = why_not(line.text) or _first(error)
            advice = "correct or delete that line, or name another file"
            raise ValueError(f"{self.path}, line {line.number} is not a score ({cause}): {advice}") from None

    def _settled(self) -> bytes:
        """Look at what others wrote, move aside what is unfinished, and return what a new line has to begin with."""
        for _ in self._later_scores():
            pass
        place = self._read_to
        if place.inode and (torn := moved_aside(self.path, place)):
            self.notes.append(
                f"the last line of {self.path} was unfinished, as a killed process leaves it; it is in {torn.name} now"
            )
        # Only the newline is missing: an editor's habit, or a write cut off one byte before its end.
        return b"" if place.last.endswith(b"\n") or not place.last else b"\n"

    @contextlib.contextmanager
    def _written(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OSError(f"{self.path}{what}: {error.strerror or error}") from error

    def _items_path(self, address: str) -> Path:
        if not files.ADDRESS.fullmatch(address):
            raise ValueError(f"{self.path}: {address!r} is not an address of items; score that property again")
        return self.items_dir / f"{address}.npz"

    def _remove_items_except(self, addresses: set[str | None]) -> None:
        for path in self.items_dir.glob("*.npz"):
            # What is called otherwise is not of this saebench.
            if path.stem not in addresses and files.ADDRESS.fullmatch(path.stem):
                path.unlink()
        if self.items_dir.is_dir() and not any(self.items_dir.iterdir()):
            self.items_dir.rmdir()


class Stored(Mapping[str, Score]):
    """Scores of a file by identity, each read from its line when it is asked for.

    What does not stand there any more is not stored.
    """

    def __init__(self, path: Path, places: Mapping[str, int]) -> None:
        self._path, self._places = path, places

    def __getitem__(self, identity: str) -> Score:
        with contextlib.suppress(OSError, ValueError):
            with self._path.open("rb") as file:
                file.seek(self._places[identity])
                score = Score.from_line(file.readline().removeprefix(BOM).decode())
            if score.identity() == identity:
                return score
        raise KeyError(identity)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def compacted(scores: list[Score]) -> str:
    """Text of a scores file that holds these scores."""
    return "".join(score.to_line() + "\n" for score in scores)


def _key(score: Score) -> tuple[str, str, float | None]:
    return score.identity(), score.created, score.value


def _first(error: ValueError) -> str:
    """The first thing that is wrong with a line, and where."""
    if not isinstance(error, ValidationError):
        return str(error)
    problem = error.errors(include_url=False, include_input=False)[0]
    return ": ".join(filter(None, (".".join(map(str, problem["loc"])), problem["msg"])))
