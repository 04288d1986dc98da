"""The best way to clamp, chosen on validation questions alone, and what it does to the questions of the test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from saebench.evidence.unlearning.asked import Asked
from saebench.evidence.unlearning.edits import Edit, Setting
from saebench.evidence.unlearning.options import CHANCE
from saebench.record.score import Unscored
from saebench.stats.statistics import CONFIDENCE, Bools, Ints

HARMLESS = 0.01
"""Largest share of questions about what is to stay that may go wrong: with 95% confidence, on validation."""
AT_ONCE = 64
"""Questions that are asked before it is looked at whether too many went wrong already; results do not depend on it."""


@dataclass(frozen=True)
class Outcome:
    """What an edit does to the questions of the test that the model answers rightly without it."""

    setting: Setting | None
    """The one that validation chose; None where none is harmless, and nothing is done."""
    forgotten: Bool[np.ndarray, " of_topic"]
    """Questions about the topic that go wrong."""
    harmed: Bool[np.ndarray, " of_all_else"]
    """Questions about all else that go wrong."""


def tolerated(questions: int) -> int:
    """How many of so many may go wrong, for the share to be at most 1% with 95% confidence; -1 where none suffices.

    Clopper and Pearson's one-sided bound (1934): 299 questions of which none goes wrong are the fewest.
    """
    from scipy import stats

    wrong = np.arange(questions)
    bound = stats.beta.ppf(CONFIDENCE, wrong + 1, questions - wrong)
    return int((bound <= HARMLESS).sum()) - 1


def check_enough(asked: Asked) -> None:
    """Raises Unscored where too few questions are answered rightly to say that an edit is harmless."""
    for test in (False, True):
        known = len(asked.part(retain=True, test=test))
        if tolerated(known) < 0:
            raise Unscored(
                f"the model answers {known} questions about what is to stay: a side effect of {HARMLESS:.0%} shows in"
                " 299 or more"
            )


def swept(asked: Asked, edit: Edit) -> Outcome:
    """Of all settings that are harmless on validation, the one that forgets most there, the gentlest of equals.

    It is asked for harm in the order of what is forgotten, so that the first harmless one is the best.
    """
    forget = asked.part(retain=False, test=False)
    for setting in _by_forgetting(asked, edit, forget):
        if harmless(asked, edit, setting):
            return outcome(asked, edit, setting)
    nothing = (np.zeros(len(asked.part(retain=retain, test=True)), dtype=bool) for retain in (False, True))
    return Outcome(None, *nothing)


def _by_forgetting(asked: Asked, edit: Edit, forget: Ints) -> list[Setting]:
    """Settings that make anything go wrong, most first; more than all that was known cannot be forgotten."""
    gone = [(_gone(asked, edit, setting, forget).sum(), setting) for setting in edit.settings]
    most = np.ceil((1 - CHANCE) * len(forget))
    return [setting for count, setting in sorted(gone, key=lambda one: (-min(one[0], most), one[1])) if count > 0]


def harmless(asked: Asked, edit: Edit, setting: Setting) -> bool:
    """Whether so few validation questions about what is to stay go wrong as are tolerated."""
    left, wrong = asked.part(retain=True, test=False), 0
    allowed = tolerated(len(left))
    while len(left) and wrong <= allowed:
        wrong += int(_gone(asked, edit, setting, left[:AT_ONCE]).sum())
        left = left[AT_ONCE:]
    return wrong <= allowed


def outcome(asked: Asked, edit: Edit, setting: Setting) -> Outcome:
    """Ask the questions of the test."""
    gone = (_gone(asked, edit, setting, asked.part(retain=retain, test=True)) for retain in (False, True))
    return Outcome(setting, *gone)


def _gone(asked: Asked, edit: Edit, setting: Setting, which: Int[np.ndarray, " n"]) -> Bools:
    return ~asked.still_right(which, lambda rows: edit.delta(rows, setting))
