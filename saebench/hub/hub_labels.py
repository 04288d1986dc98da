"""Labelled data sets of the hub, as `fixtures/labels/*.toml` says: streamed once, and kept as the texts of a corpus are."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from saebench.hub.hub import Repo, one_line
from saebench.hub.label_files import by_question
from saebench.hub.label_tables import MOST_ROWS, Table, Texts
from saebench.hub.texts import read_kept, write_kept
from saebench.organism.labelled import LabelledSet
from saebench.record.places import cache_dir

VERSION = 1
"""Of which texts are kept of a data set, and in which order."""


@dataclass(frozen=True)
class HubLabels:
    """Tables of several repositories, each at the commit at which it was fetched."""

    stanza: str
    tables: tuple[Table, ...]

    @property
    def repos(self) -> list[Repo]:
        return [Repo(name, "main", "dataset") for name in dict.fromkeys(table.repo for table in self.tables)]

    @cached_property
    def name(self) -> str:
        """With a digest of all texts. Raises OSError if they are not on this machine."""
        kept = "".join(self._kept(repo)["sha256"] for repo in self.repos)
        return f"{self.stanza}/labels@{hashlib.sha256(kept.encode()).hexdigest()[:12]}"

    @property
    def mean(self) -> frozenset[str] | None:
        return None

    @property
    def transfer(self) -> dict[str, str]:
        return {}

    def groups(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        return by_question(names)

    def sets(self, each: int) -> list[LabelledSet]:
        lines = [json.loads(line) for repo in self.repos for line in self._kept(repo)["texts"]]
        return [LabelledSet(**line).first(each) for line in lines]

    def here(self, repo: Repo) -> bool:
        return read_kept(self._path(repo)) is not None

    def _path(self, repo: Repo) -> Path:
        told = [asdict(table) for table in self._of(repo)]
        key = hashlib.sha256(f"{VERSION} {json.dumps(told)}".encode()).hexdigest()[:16]
        return cache_dir() / "labels" / f"{key}.json"

    def _of(self, repo: Repo) -> list[Table]:
        return [table for table in self.tables if table.repo == repo.name]

    def _kept(self, repo: Repo) -> Mapping[str, Any]:
        found = read_kept(self._path(repo))
        if found is None:
            raise OSError(
                f"the labelled texts of {repo} are not in the cache: saebench fetch --sae-labels {self.stanza}"
            )
        return found

    def keep(self, repo: Repo, revision: str) -> None:
        """Stream rows from the hub, at a commit, until there are enough. Raises OSError with one sentence."""
        filled = [Texts(table) for table in self._of(repo)]
        try:
            for source, files in dict.fromkeys((s, texts.table.files) for texts in filled for s in texts.table.sources):
                _fill(filled, source, _rows(repo, revision, source, files))
            found = [json.dumps(asdict(one)) for texts in filled for one in texts.sets()]
        except Exception as error:  # whatever the library makes of a repository
            raise OSError(
                f"--sae-labels {self.stanza}: {repo}: no labelled texts can be read: {one_line(error)}"
            ) from error
        write_kept(self._path(repo), repo, revision, found)


def _fill(filled: Sequence[Texts], source: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Until all tables that read this configuration have enough."""
    wanted = [texts for texts in filled if source in texts.table.sources]
    for row in rows:
        if all(texts.full(source) for texts in wanted):
            return
        for texts in wanted:
            texts.take(row, source)


def _rows(repo: Repo, revision: str, source: str, files: str) -> Iterator[Mapping[str, Any]]:
    """The first rows of the `train` split. No code of a repository is run."""
    from datasets import load_dataset

    if files:
        where = f"hf://datasets/{repo.name}@{revision}/{files}"
        return iter(load_dataset("parquet", data_files=where, split="train", streaming=True).take(MOST_ROWS))
    rows = load_dataset(repo.name, source or None, split="train", streaming=True, revision=revision)
    return iter(rows.take(MOST_ROWS))
