"""A cloze question: a passage, and what comes next of it."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

MOST_OPTIONS = 10
"""Of a question that is made here: as many as those of the Children's Book Test have."""


@dataclass(frozen=True)
class Question:
    """What a passage goes on with: one of several options, or a word that nothing but the passage tells."""

    passage: str
    """Without the space that comes before the answer."""
    answer: str
    others: tuple[str, ...] = ()
    """Wrong options; without any, the answer has to be what the model itself would write."""
    kind: str = "given"
    text: str = ""
    """Questions of one text have the same: they are not independent of each other."""

    @property
    def options(self) -> tuple[str, ...]:
        """The right one first."""
        return (self.answer, *self.others)

    @property
    def chance(self) -> float:
        """Share of such questions that a guess gets right."""
        return 1 / len(self.options) if self.others else 0.0


def digest(questions: Iterable[Question]) -> str:
    """Stands for what is asked, whatever the file is called."""
    content = json.dumps([asdict(question) for question in questions], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]
