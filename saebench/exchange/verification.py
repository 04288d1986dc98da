"""Do published scores hold? Which of them can be recomputed here, and whether each came out again."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from saebench.catalogue.local import PREFIX
from saebench.catalogue.registry import resolve
from saebench.catalogue.spec import SAESpec
from saebench.record.budget import BUDGETS
from saebench.record.columns import current_scores
from saebench.record.score import Score
from saebench.record.store import Store
from saebench.record.wording import NUMBER

SHARE = 0.02
"""Share of the half width by which two machines may differ: they round differently."""
ROUNDING = 1e-6
Held = Literal["holds", "differs", "cannot be recomputed"]


@dataclass(frozen=True)
class Recomputed:
    """A published score, what it is here, and whether the two are the same."""

    published: Score
    here: Score | None
    word: Held
    reason: str = ""
    """What differs, or why nothing came out."""


def published_scores(store: Store) -> list[Score]:
    """What the pages of a leaderboard show: of each SAE's newest weights, and of each property's newest version."""
    scores = current_scores(list(store.newest().values()))
    newest: dict[tuple[str, str, str], int] = {}
    for score in scores:
        newest[_row(score)] = max(score.version, newest.get(_row(score), 0))
    return [score for score in scores if score.version == newest[_row(score)]]


@dataclass(frozen=True)
class Vouched:
    """SAEs that the user names: their code may run, and a score of another name with their digest is of one of them."""

    specs: Sequence[SAESpec] = ()

    def code(self) -> set[str]:
        return {own.location for spec in self.specs if (own := spec.origin or spec).loader == "python"}

    def names(self, scores: Sequence[Score]) -> dict[str, str]:
        """What an SAE of the scores is called here, where it lies in another place than where it was measured."""
        here = {spec.digest: spec.name for spec in self.specs if spec.digest is not None}
        own = {spec.name for spec in self.specs}
        return {
            score.sae: here[score.sae_digest] for score in scores if score.sae not in own and score.sae_digest in here
        }


def sort_out(
    scores: Sequence[Score], tests: Mapping[str, object], vouched: Vouched = Vouched()
) -> tuple[list[Score], dict[str, list[Score]]]:  # fmt: skip
    """Tell scores that can be recomputed here from the rest, by the reason why not, in words that follow a number."""
    names, code = vouched.names(scores), vouched.code()
    unnamed = {sae: _unnamed(names.get(sae, sae), code) for sae in {score.sae for score in scores}}
    found: dict[str, list[Score]] = {}
    for score in scores:
        found.setdefault(_obstacle(score, tests, unnamed), []).append(score)
    return found.pop("", []), found


def judge(score: Score, here: Score) -> Recomputed:
    """Compare a published score with the one that was recomputed here.

    What lies on this machine under a name need not be what was measured under it elsewhere: that says nothing of it.
    """
    reason = _difference(score, here)
    if score.sae.startswith(PREFIX) and (score.sae_digest, score.hook) != (here.sae_digest, here.hook):
        return Recomputed(score, None, "cannot be recomputed", f"another SAE has this name here: {reason}")
    return Recomputed(score, here, "differs" if reason else "holds", reason)


def wrong_items(store: Store, scores: Sequence[Score]) -> list[str]:
    """What is wrong with the per-item values, each as a sentence: a file is not whole, or is of another score."""
    return [said for score in scores if (said := _wrong_items(store, score))]


def _wrong_items(store: Store, score: Score) -> str:
    try:
        each = store.load_items(score).get("contribution")
    except ValueError as error:
        return str(error)
    if score.value is None or each is None:
        return ""
    mean = float(each.mean()) if each.size and each.dtype.kind in "fiu" else math.nan
    # The mean is the score to first order only: a curved one is off by a small share of its half width.
    if abs(mean - score.value) <= max(ROUNDING, score.half_width() or 0.0):
        return ""
    return f"{score.property}[{score.sae}] is {score.value:.6g}, and the mean of its items {mean:.6g}"


def _row(score: Score) -> tuple[str, str, str]:
    return score.sae, score.model, score.property


def _obstacle(score: Score, tests: Mapping[str, object], unnamed: Mapping[str, str]) -> str:
    if "machine" in score.params:
        return "are of the machine that they were measured on"
    if score.budget not in BUDGETS:
        return "do not say how much was read" if not score.budget else f"have a budget {score.budget!r}, unknown here"
    if score.property not in tests:
        return f"are of {score.property}, which no suite measures here"
    return unnamed[score.sae]


def _unnamed(sae: str, code: Collection[str]) -> str:
    try:
        specs = resolve(sae)
    except (ValueError, OSError) as error:
        return f"are of {sae}, which cannot be named here ({error})"
    if any(own.loader == "python" and own.location not in code for own in (spec.origin or spec for spec in specs)):
        return f"are of {sae}, which is Python code, and a scores file may not choose what code runs: --sae names it"
    return "" if [spec.name for spec in specs] == [sae] else f"are of {sae}, which names no single SAE here"


def _difference(score: Score, here: Score) -> str:
    for field, name in (
        ("sae_digest", "SAE has digest"), ("hook", "hook is"), ("model_digest", "model has digest"),
        ("version", "property has version"),
        ("corpus", "texts are"),
    ):  # fmt: skip
        old, new = getattr(score, field), getattr(here, field)
        if old != new:
            return f"the {name} {_short(old)}, here {_short(new)}"
    if score.value is None or here.value is None:
        return _difference_of_reasons(score, here)
    most = max(ROUNDING, SHARE * (here.half_width() or 0.0))
    for field, name in (("value", "value"), ("ci_low", "lower end"), ("ci_high", "upper end")):
        old, new = getattr(score, field), getattr(here, field)
        if abs(old - new) > most:
            return f"the {name} is {old:.6g}, here {new:.6g}"
    return ""


def _difference_of_reasons(score: Score, here: Score) -> str:
    """Reasons may differ in the last digits of their numbers."""
    old, new = (NUMBER.sub("…", s.unscored_reason or "") for s in (score, here))
    if old == new:
        return ""
    return f"unscored here: {here.unscored_reason}" if here.value is None else f"here it is {here.value:.6g}"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) < 64 else " ".join([*text.split()[:-1], text.split()[-1][:12]])
