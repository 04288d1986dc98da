"""Questions with four answers of data sets of the hub, as MMLU and WMDP have them: fetched once, and kept."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saebench.hub.hub import Repo, one_line
from saebench.hub.needs import Need
from saebench.hub.texts import read_kept, write_kept
from saebench.record.places import cache_dir

ANSWERS = 4


@dataclass(frozen=True)
class ChoiceSource:
    """All questions of some subsets of a data set, at the revision at which it was fetched."""

    repo: Repo
    subsets: tuple[str, ...]
    split: str

    @property
    def name(self) -> str:
        """Raises OSError where they are not on this machine."""
        return f"{self.repo.name}@{str(self._kept()['revision'])[:12]}/{','.join(self.subsets)}/{self.split}"

    def questions(self) -> list[tuple[str, list[str], int]]:
        """Question, its four answers, and which is right."""
        return [(one["question"], one["choices"], one["answer"]) for one in map(json.loads, self._kept()["texts"])]

    def need(self) -> Need:
        lacking = [] if read_kept(self._path) is not None else ["its questions"]
        return Need(f"the questions {self.repo}", self.repo, (), lambda: lacking, keep=self.keep)

    def keep(self, revision: str) -> None:
        """Read the questions from the hub, at a commit."""
        from datasets import load_dataset

        try:
            rows = [
                row
                for name in self.subsets
                for row in load_dataset(self.repo.name, name, split=self.split, revision=revision)
            ]
            texts = [json.dumps(_question(row)) for row in rows]
        except Exception as error:  # whatever the library makes of a repository
            raise OSError(f"{self.repo}: no questions can be read: {one_line(error)}") from error
        write_kept(self._path, self.repo, revision, texts)

    @property
    def _path(self) -> Path:
        what = f"choices {self.repo.name}@{self.repo.revision} {self.subsets} {self.split}"
        return cache_dir() / "texts" / f"{hashlib.sha256(what.encode()).hexdigest()[:16]}.json"

    def _kept(self) -> dict[str, Any]:
        found = read_kept(self._path)
        if found is None:
            raise OSError(f"the questions of {self.repo} are not in the cache: `saebench fetch` brings them")
        return found


def _question(row: Any) -> dict[str, Any]:
    """Raises ValueError where a row is no question with four answers."""
    question, choices, answer = row.get("question"), row.get("choices"), row.get("answer")
    if not isinstance(question, str) or not isinstance(choices, list) or len(choices) != ANSWERS:
        raise ValueError(f"a row has {', '.join(row)}: expected question, four choices and answer")
    if not isinstance(answer, int) or not 0 <= answer < ANSWERS:
        raise ValueError(f"the answer {answer!r} is not one of 0 to {ANSWERS - 1}")
    return {"question": question, "choices": choices, "answer": answer}
