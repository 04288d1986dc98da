"""A model asked the questions: once as it is, whatever SAE there is, and again with something added at the hook."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from saebench.evidence.unlearning.questions import Questions
from saebench.stats.statistics import Bools, Ints
from saebench.subject.cache import Cache, Inputs
from saebench.subject.passes import Passes, passes_of
from saebench.subject.subject import Subject

VERSION = 1
TOKENS = 4096
"""Of a pass, about; results do not depend on it."""
Delta = Callable[[Ints], Tensor]
"""Rows to what is added to their activations (row, position, d)."""


@dataclass(frozen=True)
class Asked:
    """What the model says to the questions with nothing added, and passes in which something is."""

    questions: Questions
    x: Float[Tensor, "row position d"]
    """What an SAE reads there."""
    target: Float[Tensor, "row position d_out"]
    """What is added to: the same but for a transcoder."""
    right: Bool[np.ndarray, " question"]
    """Whether the right answer is the likeliest of the four with nothing added."""
    passes: Passes
    entering: Float[Tensor, "row position d_model"] | None

    def part(self, *, retain: bool, test: bool) -> Int[np.ndarray, " n"]:
        """Questions of one part that the model answers rightly: only they count."""
        q = self.questions
        return np.flatnonzero(self.right & (q.retain == retain) & (q.test == test))

    def still_right(self, which: Int[np.ndarray, " n"], delta: Delta) -> Bool[np.ndarray, " n"]:
        """Whether questions that were answered rightly still are, with something added.

        A question before whose answer nothing is added has the answer that it had, and no pass is run for it.
        """
        right = np.ones(len(which), dtype=bool)
        if not len(which):
            return right
        rows, of = np.unique(self.questions.row[which], return_inverse=True)
        for part in np.array_split(np.arange(len(rows)), -(-len(rows) * self._width // TOKENS)):
            asked = np.flatnonzero(np.isin(of, part))
            right[asked] = self._some(which[asked], rows[part], of[asked] - part[0], delta)
        return right

    @property
    def _width(self) -> int:
        return self.questions.tokens.shape[1]

    def _some(self, which: Ints, rows: Ints, of: Ints, delta: Delta) -> Bools:
        """Some questions, and of which of some rows each is."""
        added = delta(rows).cpu()
        added[:, 0] = 0  # BOS is left alone
        position = torch.from_numpy(self.questions.position[which])
        changed = (added != 0).any(-1).int().cummax(dim=1).values.bool()[torch.from_numpy(of), position].numpy()
        right = np.ones(len(which), dtype=bool)
        if changed.any():
            kept, again = np.unique(of[changed], return_inverse=True)
            right[changed] = self._run(which[changed], rows[kept], again, added[torch.from_numpy(kept)])
        return right

    def _run(self, which: Ints, rows: Ints, of: Ints, added: Tensor) -> Bools:
        """What lies behind the last answer is not run."""
        at, end = torch.from_numpy(rows), int(self.questions.position[which].max()) + 1
        device = self.passes.subject.device
        entering = None if self.entering is None else self.entering[at, :end].to(device)
        put = (self.target[at, :end] + added[:, :end]).to(device)
        hidden = self.passes.spliced(self.questions.tokens[at, :end], put, entering)
        return answered(self.passes, hidden, self.questions, which, of)


def answered(
    passes: Passes,
    hidden: Float[Tensor, "some position d_model"],
    questions: Questions,
    which: Int[np.ndarray, " n"],
    of: Int[np.ndarray, " n"],
) -> Bool[np.ndarray, " n"]:
    """Whether the right answer is the likeliest, of questions `which` are in the rows `of` what is unembedded."""
    position = torch.from_numpy(questions.position[which])
    there = hidden[torch.from_numpy(of).to(hidden.device), position.to(hidden.device)]
    options = questions.options[torch.from_numpy(which)].to(hidden.device)
    parts = [
        passes.logits(there[start : start + passes.positions]).gather(1, options[start : start + passes.positions])
        for start in range(0, len(there), passes.positions)
    ]
    found = torch.cat(parts)
    right: Bools = (found[:, 0] > found[:, 1:].max(dim=1).values).cpu().numpy()
    return right


def ask(subject: Subject, hook: str, out: str, questions: Questions, inputs: Inputs, cache: Cache) -> Asked:
    """The clean pass over all questions, through the cache; `inputs` say which questions they are."""
    passes = passes_of(subject, out, questions.tokens)
    places = {"x": hook, "target": out, "entering": passes.entry or out}
    inputs = {**inputs, "unlearning": VERSION, "model": subject.digest, **{f"at {k}": v for k, v in places.items()}}
    found = cache.get(inputs, lambda: _clean(subject, passes, places, questions), random=False)
    return Asked(
        questions=questions, x=found[hook], target=found[out], right=questions.known(found["right"].numpy().astype(bool)),
        passes=passes, entering=found[passes.entry] if passes.entry else None,
    )  # fmt: skip


def _clean(subject: Subject, passes: Passes, places: dict[str, str], questions: Questions) -> dict[str, Tensor]:
    hooks = list(dict.fromkeys(places.values()))
    right, whole = torch.zeros(len(questions.row)), Passes(subject, "", 0)

    def some(at: slice) -> dict[str, Tensor]:
        tokens = questions.tokens[at]
        which = np.flatnonzero((questions.row >= at.start) & (questions.row < at.stop))
        said = answered(whole, whole.last(tokens), questions, which, questions.row[which] - at.start)
        right[torch.from_numpy(which)] = torch.from_numpy(said).float()
        return dict(zip(hooks, (x.cpu() for x in subject.activations(tokens, *hooks)), strict=True))

    size = max(1, TOKENS // questions.tokens.shape[1])
    parts = subject.batch.over(len(questions.tokens), some, size)
    return {"right": right, **{hook: torch.cat([part[hook] for part in parts]) for hook in hooks}}
