"""A language model that answers prompts: each is asked once, within a budget, and what it said is kept."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from saebench.judges.backend import Backend, Reply
from saebench.judges.prompts import Prompt
from saebench.judges.transcripts import Transcripts
from saebench.record.naming import shown
from saebench.record.stages import progress, stage

FEWEST = 4
"""Answers of which most must be sensible."""


@dataclass
class Speaker:
    """Raises OSError with one sentence where the model is out of reach, talks nonsense, or the budget is spent.

    Nothing is lost by that: what was answered is kept, and a later run asks for the rest.
    """

    judge: str
    backend: Backend
    transcripts: Transcripts
    budget: int | None
    """Most calls in this process; None for any number."""
    calls: int = 0
    remembered: int = 0
    tokens: list[int] = field(default_factory=lambda: [0, 0])
    """In and out."""
    failed: str = ""
    """Why it is not asked any more."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def weighs(self) -> bool:
        return self.backend.weighs

    def ask(self, prompts: Sequence[Prompt]) -> list[Any]:
        """What each answer means, None for nonsense, which is asked for twice."""
        self.transcripts.refresh()
        missing = self._missing(prompts)
        self.remembered += len(set(prompts)) - len(missing)
        for _ in range(2 if not self.weighs else 1):
            if missing:
                self._fetch(missing)
                missing, asked = self._missing(prompts), len(missing)
                self._check_sensible(missing, asked)
        return [self._read(prompt) for prompt in prompts]

    def _missing(self, prompts: Sequence[Prompt]) -> list[Prompt]:
        return [prompt for prompt in dict.fromkeys(prompts) if self._read(prompt) is None]

    def _read(self, prompt: Prompt) -> Any:
        known = self.transcripts.known(prompt)
        return None if known is None else prompt.read(known)

    def _fetch(self, missing: list[Prompt]) -> None:
        if self.failed:
            raise OSError(self.failed)
        left = len(missing) if self.budget is None else self.budget - self.calls
        self._nonsense = ""
        with stage("asking the judge"):
            self._answered(missing[: max(left, 0)])
        if left < len(missing):
            self.failed = (
                f"--sae-judge-budget: {self.calls} calls to {shown(self.judge)} are spent, and {len(missing) - max(left, 0)} more are needed;"
                " the answers are kept, and another run goes on from here"
            )
            raise OSError(self.failed)

    def _answered(self, prompts: list[Prompt]) -> None:
        done = 0

        def keep(at: int, reply: Reply) -> None:
            nonlocal done
            with self._lock:
                done += 1
                self.calls += 1
                progress(done, len(prompts))
                self.tokens[0] += reply.tokens_in
                self.tokens[1] += reply.tokens_out
                if prompts[at].read(reply.text) is None:
                    self._nonsense = reply.text
                else:
                    self.transcripts.add(prompts[at], reply.text, reply.tokens_in, reply.tokens_out)

        try:
            if prompts:
                self.backend.answer(prompts, keep)
        except OSError as error:
            self.failed = str(error)
            raise

    def _check_sensible(self, missing: list[Prompt], asked: int) -> None:
        if asked >= FEWEST and len(missing) > asked / 2:
            self.failed = f"the judge {shown(self.judge)} answers nonsense to {len(missing)} of {asked} prompts, such as {shown(repr(self._nonsense), 80)}"
            raise OSError(self.failed)

    def said(self) -> str:
        """What was asked in this run."""
        read, written = self.tokens
        return f"judge {shown(self.judge)}: {self.calls:,} calls, {read:,} tokens read, {written:,} written; {self.remembered:,} answers were there already"
