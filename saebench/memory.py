"""What a run has found out already, be it a value or the reason why there is none, and for how long it is kept."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from saebench.score import Unscored
from saebench.statistics import repetition

T = TypeVar("T")


class Memory:
    """Values by key and repetition; what raised `Unscored` once raises it again, without being tried again."""

    def __init__(self) -> None:
        self._found: dict[Hashable, Any] = {}

    def get(self, key: Hashable, compute: Callable[[], T], *, random: bool = True) -> T:
        """`random` is False for what has no random stage, and is the same in every repetition."""
        key = (key, repetition() if random else 0)
        if key not in self._found:
            try:
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


@dataclass
class Shelf:
    """All that a run keeps in memory, in three compartments. Each is emptied when what it is about changes."""

    sae: Memory = field(default_factory=Memory)
    """Of the SAE in memory: dropped with it."""
    place: Memory = field(default_factory=Memory)
    """Of a hook of a model on some texts: kept for all SAEs that read there."""
    model: Memory = field(default_factory=Memory)
    """The language model, and it with random weights: kept for all SAEs of the model."""
    _about: dict[str, Hashable] = field(default_factory=dict)

    def turn_to(self, *, model: Hashable, place: Hashable) -> None:
        """Drop what was kept of another model, or of another place."""
        for name, now in (("model", model), ("place", (model, place))):
            if self._about.setdefault(name, now) != now:
                getattr(self, name).clear()
                self._about[name] = now
