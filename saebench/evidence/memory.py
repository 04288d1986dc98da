"""What was found out already, be it a value or the reason why there is none."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from saebench.record.score import Unscored
from saebench.record.stages import stage
from saebench.stats.statistics import repetition

T = TypeVar("T")
WORDS = {
    "subject": "loading the model", "model": "drawing a model's weights anew", "activations": "running the model over the texts",
    "trace": "running the model with the SAE spliced in", "encoded": "encoding the texts", "readings": "reading words",
    "probe": "fitting probes", "speller": "asking the model to spell", "study": "encoding words",
    "words": "encoding words in another model", "detectors": "choosing latents", "control": "making a control SAE",
    "trained": "training an SAE", "scene": "preparing the game's prompts", "dictionary": "encoding prompts", "lineup": "playing the game",
    "cloze": "asking the model cloze questions", "answered": "asking them with the SAE spliced in",
    "unlearning": "asking the model what it is to forget", "unlearned": "clamping latents",
    "entities": "asking about entities", "labelled": "reading labelled texts", "labelled sets": "drawing labelled texts",
    "perturbed": "taking latents away", "dense": "fitting probes",
}  # fmt: skip
"""What the makers of things are busy with, by the first or second word of their keys."""


class Memory:
    """Values by key and repetition; what raised `Unscored` once raises it again, without being tried again."""

    def __init__(self) -> None:
        self._found: dict[Hashable, Any] = {}

    def get(self, key: Hashable, compute: Callable[[], T], *, random: bool = True) -> T:
        """`random` is False for what has no random stage, and is the same in every repetition."""
        key = (key, repetition() if random else 0)
        if key not in self._found:
            try:
                with stage(in_words(key[0])):
                    self._found[key] = compute()
            except Unscored as reason:
                # Not the exception that was raised: its traceback holds all that was in memory then.
                self._found[key] = Unscored(reason.reason, broken=reason.broken)
        found = self._found[key]
        if isinstance(found, Unscored):
            raise Unscored(found.reason, broken=found.broken)
        return found  # type: ignore[no-any-return]

    def clear(self) -> None:
        self._found.clear()


def in_words(key: Hashable) -> str:
    """What is being made, as a key says in one of its words."""
    parts = key if isinstance(key, tuple) else (key,)
    known = [WORDS[part] for part in parts if isinstance(part, str) and part in WORDS]
    return known[0] if known else "measuring"
