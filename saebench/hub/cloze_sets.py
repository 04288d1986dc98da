"""Cloze tasks that stand on the hub: where, and how a row of theirs is a question. A row in `SETS` is all there is to add."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from saebench.record.questions import Question

BLANK = "XXXXX"
"""What stands in the place of the word that the Children's Book Test asks for."""


@dataclass(frozen=True)
class ClozeSet:
    """A data set of the hub, and what makes a question of a row, or None of one that is none."""

    repo: str
    config: str
    split: str
    read: Callable[[Mapping[str, Any]], Question | None]
    revision: str = "main"

    def __str__(self) -> str:
        return f"{self.repo}@{self.revision}/{self.config}/{self.split}"


def final_word(row: Mapping[str, Any]) -> Question | None:
    """LAMBADA (arXiv 1606.06031): the last word of a passage, which the passage tells and its last sentence does not."""
    passage, _, answer = str(row["text"]).strip().rpartition(" ")
    return Question(passage.rstrip(), answer) if passage.strip() and answer else None


def childrens_book(row: Mapping[str, Any]) -> Question | None:
    """Children's Book Test (arXiv 1511.02301): twenty sentences, and a word of the next one; what follows it is not read."""
    before, blank, _ = str(row["question"]).partition(BLANK)
    options, answer = [str(option).strip() for option in row["options"]], str(row["answer"]).strip()
    passage = re.sub(r"\s+", " ", " ".join([*row["sentences"], before])).strip()
    others = tuple(dict.fromkeys(option for option in options if option and option != answer))
    return Question(passage, answer, others) if blank and passage and answer in options and others else None


SETS: Mapping[str, ClozeSet] = {
    "lambada": ClozeSet("EleutherAI/lambada_openai", "default", "test", final_word),
    "cbt-named": ClozeSet("cam-cst/cbt", "NE", "test", childrens_book),
    "cbt-common": ClozeSet("cam-cst/cbt", "CN", "test", childrens_book),
}
"""By what `--sae-cloze` takes; each is kept at the commit at which it was fetched, which its scores name."""
