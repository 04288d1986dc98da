"""What stands beside an SAE's name: scores of SAEs that differ in these are compared with care."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from saebench.record.score import Score
from saebench.record.wording import DASH, number, tenths


@dataclass(frozen=True)
class Fact:
    """One column. Its value is a field of scores or, where there is none of that name, one of `Score.facts`."""

    name: str
    """Heading of the column."""
    field: str
    written: Callable[[Any], str] = str
    phrase: str = "{}"
    """How `saebench show` says it."""

    def of(self, score: Score) -> Any:
        """The value, as a score has it; None where it is not known."""
        return getattr(score, self.field) if self.field in Score.model_fields else score.facts.get(self.field)

    def said(self, spec: Any) -> Any:
        """The value, as the files of an SAE say it, or those who trained it."""
        own = getattr(spec, self.field, None)
        return spec.facts.get(self.field) if own is None else own


FACTS = (
    Fact("architecture", "architecture"),
    Fact("width", "d_sae", phrase="{} latents"),
    Fact("L0", "l0", tenths, "L0 {}"),
    Fact("FVU", "fvu", number, "FVU {}"),
)
"""The columns, in order. A row more is a column more: a fact that an SAE's files say needs nothing else."""


def cells(scores: Sequence[Score]) -> list[str]:
    """Of one SAE, each fact from its first score that has it."""
    found = [next((value for score in scores if (value := fact.of(score)) is not None), None) for fact in FACTS]
    return [DASH if value is None else fact.written(value) for fact, value in zip(FACTS, found, strict=True)]


def beside(spec: Any) -> dict[str, Any]:
    """Facts that scores have no field for, as `Score.facts` holds them."""
    named = {fact.field: fact.said(spec) for fact in FACTS if fact.field not in Score.model_fields}
    return {name: value for name, value in named.items() if value is not None}
