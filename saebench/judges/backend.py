"""What has a language model: an endpoint, or this machine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from saebench.judges.prompts import Prompt


@dataclass(frozen=True)
class Reply:
    text: str
    tokens_in: int
    tokens_out: int


Keep = Callable[[int, Reply], None]
"""Takes the number of a prompt, and the reply to it."""


class Backend(Protocol):
    """Answers prompts in any order."""

    @property
    def weighs(self) -> bool:
        """Whether it can say how likely it goes on with some words."""
        ...

    def answer(self, prompts: Sequence[Prompt], keep: Keep) -> None:
        """Hand on each reply as soon as it is there. Raises OSError with one sentence where there will be none."""
        ...
