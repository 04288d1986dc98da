"""Cloze tasks by name: `--sae-cloze`. A file of questions, or one of the tasks that stand on the hub."""

import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from saebench.hub.cloze_sets import SETS, ClozeSet
from saebench.hub.hub import Repo, one_line
from saebench.hub.texts import read_kept, write_kept
from saebench.record.naming import nearest, one_sentence
from saebench.record.places import cache_dir
from saebench.record.plain_text import read_text
from saebench.record.questions import Question, digest

KEYS = ("passage", "options", "answer")
MOST_OPTIONS = 100
MOST = 5_000
"""Questions of a task of the hub that are kept."""
OPTION = "--sae-cloze"


class ClozeSource(Protocol):
    """Questions in an order that does not change."""

    @property
    def name(self) -> str: ...
    def questions(self) -> list[Question]: ...


@dataclass(frozen=True)
class ClozeFile:
    """A `.jsonl` of objects with `passage`, `answer` and, but for final words, `options`."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @cached_property
    def name(self) -> str:
        # Not what the file is called: a score is of what stands in it.
        return f"jsonl@{digest(self.questions())}"

    @one_sentence
    def questions(self) -> list[Question]:
        """Raises ValueError with the number of the line where the file is not what it should be."""
        try:
            lines = read_text(self.path).split("\n")
        except ValueError as error:
            raise ValueError(f"{OPTION} {error}") from None
        found = dict[Question, int]()
        for number, line in enumerate(lines, 1):
            if line.strip():
                where = f"{OPTION} {self.path}, line {number}"
                question = _question(where, line)
                if question in found:
                    raise ValueError(f"{where}: the same question stands in line {found[question]}: leave one out")
                found[question] = number
        if not found:
            raise ValueError(f"{OPTION} {self.path}: it holds no question")
        return list(found)


def _question(where: str, line: str) -> Question:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: not JSON: {one_line(error)}") from None
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: expected an object with {', '.join(KEYS)}")
    if unknown := next((key for key in entry if key not in KEYS), None):
        raise ValueError(f"{where}: unknown key {unknown!r:.80}.{nearest(unknown, KEYS)} Known: {', '.join(KEYS)}")
    passage, answer = (_text(where, entry, key) for key in ("passage", "answer"))
    given = entry.get("options", [])
    if not isinstance(given, list) or len(given) == 1 or len(given) > MOST_OPTIONS:
        raise ValueError(f"{where}: options are {given!r:.80}, and should be a list of 2 to {MOST_OPTIONS} texts")
    options = [_text(where, {"options": option}, "options") for option in given]
    if twice := next((option for i, option in enumerate(options) if option in options[:i]), None):
        raise ValueError(f"{where}: the option {twice!r:.80} stands there twice")
    if options and answer not in options:
        raise ValueError(f"{where}: the answer {answer!r:.80} is none of the options.{nearest(answer, options)}")
    return Question(passage.rstrip(), answer, tuple(option for option in options if option != answer))


def _text(where: str, entry: dict[str, Any], key: str) -> str:
    if key not in entry:
        raise ValueError(f"{where}: it has no {key!r}: a question has {', '.join(KEYS)}")
    value = entry[key]
    if not isinstance(value, str) or not value.strip():
        shown = "NaN" if isinstance(value, float) and math.isnan(value) else repr(value)
        raise ValueError(f"{where}: {key} is {shown:.80}, and should be a text that is not empty")
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError(f"{where}: {key} has half of a character, which is no text")
    return value if key == "passage" else value.strip()


@dataclass(frozen=True)
class HubCloze:
    """The first questions of a task of the hub, at the commit at which it was fetched."""

    task: str
    told: ClozeSet

    def __str__(self) -> str:
        return f"{self.task} of {self.told.repo}"

    @property
    def repo(self) -> Repo:
        return Repo(self.told.repo, self.told.revision, "dataset")

    @property
    def name(self) -> str:
        """With the commit. Raises OSError if it is not on this machine."""
        return f"{self.task}@{self._kept()['revision'][:12]}/{self.told.split}"

    def questions(self) -> list[Question]:
        kept = map(json.loads, self._kept()["texts"])
        return [Question(passage, answer, tuple(others), self.task) for passage, answer, others in kept]

    @property
    def here(self) -> bool:
        return read_kept(self._path) is not None

    @property
    def _path(self) -> Path:
        key = hashlib.sha256(f"{self.told}".encode()).hexdigest()[:16]
        return cache_dir() / "texts" / f"cloze-{key}.json"

    def _kept(self) -> dict[str, Any]:
        if (found := read_kept(self._path)) is None:
            raise OSError(f"the questions {self} are not in the cache: saebench fetch {OPTION} {self.task}")
        return found

    def keep(self, revision: str) -> None:
        """Stream the first questions from the hub, at a commit. Raises OSError with one sentence."""
        from datasets import load_dataset

        told = self.told
        try:
            rows = load_dataset(told.repo, told.config, split=told.split, streaming=True, revision=revision)
            found = [told.read(row) for row in rows.take(MOST)]
        except Exception as error:  # whatever the library makes of a repository
            raise OSError(f"{OPTION} {self.task}: {told.repo} cannot be read: {one_line(error)}") from error
        texts = [json.dumps([q.passage, q.answer, q.others]) for q in found if q]
        if not texts:
            raise OSError(f"{OPTION} {self.task}: {told.repo} holds no question")
        write_kept(self._path, self.repo, revision, texts)


@one_sentence
def cloze_source(name: str) -> ClozeFile | HubCloze:
    """A task by its name. Raises ValueError with one sentence if there is none."""
    if name in SETS:
        return HubCloze(name, SETS[name])
    path = Path(name).expanduser()
    if path.suffix != ".jsonl":
        known = ", ".join(SETS)
        raise ValueError(f"{OPTION} {name}: expected a .jsonl file or one of {known}.{nearest(name, SETS)}")
    if not path.is_file():
        raise ValueError(f"{OPTION} {name}: no such file")
    return ClozeFile(path)
