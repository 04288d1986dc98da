"""Why there is no score: every reason once, with a number, however many tests it holds for."""

from collections.abc import Sequence

from saebench.boards.board_notes import grouped
from saebench.record.score import Score
from saebench.record.wording import NUMBER

FEW = 2
"""Names that are listed before it says how many more there are."""


class Reasons:
    """Numbers of reasons, in the order in which a run meets them; those that differ in numbers alone are one."""

    def __init__(self) -> None:
        self._met: dict[tuple[str, ...], int] = {}

    def word(self, reason: str) -> str:
        """What stands where PASSED would: the reason where it is new, else its number alone."""
        key = tuple(NUMBER.split(reason))
        known = key in self._met
        place = self._met.setdefault(key, len(self._met) + 1)
        return f"unscored [{place}]" + ("" if known else f": {reason}")


def reason_lines(unscored: Sequence[Score]) -> list[str]:
    """A line per reason with the number of tests that it holds for, and which these are."""
    found = grouped(unscored, lambda score: score.unscored_reason or "")
    return [f"unscored, {_tests(scores)} of {_of(scores)}: {reason}" for reason, scores in found]


def _tests(scores: Sequence[Score]) -> str:
    return f"{len(scores)} test{'s' * (len(scores) != 1)}"


def _of(scores: Sequence[Score]) -> str:
    properties = list(dict.fromkeys(score.property for score in scores))
    saes = list(dict.fromkeys(score.sae for score in scores))
    return f"{_listed(properties)} [{_listed(saes)}]"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - FEW
    return ", ".join(names[:FEW]) + (f" and {more} more" if more > 0 else "")
