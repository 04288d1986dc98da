"""What a run holds its scores against: a baseline, a project's settings, absolute demands."""

import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict

from saebench.compare.at_l0 import Matched
from saebench.compare.baseline import Baseline
from saebench.compare.demands import Demand
from saebench.compare.gate import Comparison, Verdict, held_against, message
from saebench.compare.settings import Acknowledged, Settings
from saebench.record.naming import shown
from saebench.record.properties import Property
from saebench.record.score import Score
from saebench.record.store import Store
from saebench.record.wording import number

Said = Annotated[str, AfterValidator(partial(shown, most=2_000))]
WORDS = ("ok", "better", "worse", "acknowledged", "demand missed", "new", "incomparable", "unscored")
"""In the order in which a run counts them."""


class Judgement(BaseModel):
    """What the gate says of one score; it travels with the test's report, also from a pytest-xdist worker."""

    model_config = ConfigDict(frozen=True)

    word: Verdict | Literal["acknowledged", "demand missed"]
    line: Said = ""
    """What a person reads of it; empty where nothing is to be said."""
    fails: bool = False
    note: Said = ""
    """What the end of the run should say of it."""


@dataclass
class Gate:
    """Judges scores one by one, as they are made."""

    baseline: Baseline | Matched | None = None
    settings: Settings = field(default_factory=Settings)
    demands: Sequence[Demand] = ()
    family: int = 1
    """How many scores this run compares: what looks worse must do so among that many."""
    today: datetime.date = field(default_factory=lambda: datetime.datetime.now(datetime.UTC).date())

    @property
    def idle(self) -> bool:
        return self.baseline is None and not self.demands

    def compares(self, prop: Property, params: Mapping[str, object]) -> bool:
        """Whether the baseline has something that scores of a property could be compared with."""
        rows = self.baseline.rows if self.baseline is not None and prop.better != "neither" else []
        return any(
            row.property == prop.name and row.value is not None and row.params.items() >= params.items() for row in rows
        )

    def judge(self, score: Score, prop: Property, store: Store) -> Judgement | None:
        """None for a repetition of the random stages, and where there is nothing to hold a score against."""
        if self.idle or score.seed:
            return None
        missed = [line for demand in self.demands if (line := demand.missed(score))]
        if missed:
            return Judgement(word="demand missed", line="; ".join(missed), fails=True)
        return self._against_baseline(score, prop, store) if self.baseline is not None else None

    def _against_baseline(self, score: Score, prop: Property, store: Store) -> Judgement:
        assert self.baseline is not None
        tolerance = self.settings.tolerance(prop.name, prop.tolerance)
        row, found = held_against(self.baseline, score, store, tolerance, self.family)
        known = self.settings.acknowledgement(score.property, score.sae)
        line = message(score, found)
        if found.difference is not None and row is not None and isinstance(self.baseline, Matched):
            line += f"; baseline: {row.sae}, interpolated"
        if found.verdict == "worse":
            return self._worse(line, known)
        return Judgement(word=found.verdict, line=line, note=_note(score, row, found, known))

    def _worse(self, line: str, known: Acknowledged | None) -> Judgement:
        if known is None:
            return Judgement(word="worse", line=line, fails=True)
        told = f"acknowledged until {known.until}: {known.reason}"
        if known.expired(self.today):
            return Judgement(word="worse", line=f"{line}; {told}, which is over", fails=True)
        return Judgement(word="acknowledged", line=f"{line}; {told}")


def _note(score: Score, row: Score | None, found: Comparison, known: Acknowledged | None) -> str:
    name = f"{score.property}[{score.sae}]"
    if found.verdict == "incomparable":
        return f"incomparable {name}: {found.reason}"
    if found.verdict == "unscored" and row is not None and row.value is not None:
        return f"unscored {name}, for which the baseline has {number(row.value)}"
    if found.by_chance:
        return f"perhaps worse, or by chance among so many: {message(score, found)}"
    if found.difference is not None and found.difference.alone:
        return (
            "items of scores or of their baseline are missing: these scores are compared without pairs, which is wider"
        )
    if known is not None and known.exact and found.difference is not None:
        return f"acknowledged and no longer worse: {name}; delete it from [tool.saebench] in pyproject.toml"
    return ""


def counted(judgements: Sequence[Judgement]) -> str:
    """`gate: 38 ok, 1 worse, 3 new`; empty where nothing was judged."""
    counts = Counter(str(judgement.word) for judgement in judgements)
    return "gate: " + ", ".join(f"{counts[word]} {word}" for word in WORDS if counts[word]) if counts else ""


def nothing_compared(judgements: Sequence[Judgement]) -> bool:
    """Whether scores were judged and none had anything that it could be compared with."""
    return bool(judgements) and all(judgement.word in ("new", "incomparable", "unscored") for judgement in judgements)
