"""What was found out already, be it a value or the reason why there is none."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from saebench.record.score import Unscored
from saebench.stats.statistics import repetition

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
