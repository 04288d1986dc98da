"""`--sae-min 'first_letter.f1>=.6'`: what a score must reach whatever the baseline says."""

import math
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from saebench.record.naming import nearest
from saebench.record.score import Score
from saebench.record.wording import number

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
FORM = re.compile(r"\s*([\w.]+)\s*(>=|<=|>|<)\s*([-+.\deE]+)\s*")


@dataclass(frozen=True)
class Demand:
    """A bound on a property's value. It is the value that must keep it, not the interval."""

    property: str
    sign: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> "Demand":
        """Raises ValueError with one sentence for anything but PROPERTY, an order and a number."""
        match = FORM.fullmatch(text)
        try:
            demand = cls(match[1], match[2], float(match[3]))  # type: ignore[index]
            if math.isfinite(demand.bound):
                return demand
            raise ValueError
        except (TypeError, ValueError):
            example = "'first_letter.f1>=.6' (in quotes: the shell takes > for itself)"
            raise ValueError(f"--sae-min {text}: expected a property, one of {' '.join(OPERATORS)}, and a number, as in {example}") from None  # fmt: skip

    def __str__(self) -> str:
        return f"{self.property}{self.sign}{number(self.bound)}"

    def missed(self, score: Score) -> str:
        """One line if a score of the property misses it, which one without a value does; else nothing."""
        if score.property != self.property:
            return ""
        name = f"{score.property}[{score.sae}]"
        if score.value is None:
            return f"{name} unscored, and --sae-min demands {self}: {score.unscored_reason}"
        if math.isfinite(score.value) and OPERATORS[self.sign](score.value, self.bound):
            return ""
        interval = f"[{number(score.ci_low or 0.0)}, {number(score.ci_high or 0.0)}]"
        return f"{name} = {number(score.value)} {interval}, and --sae-min demands {self}"


def check_known(demands: Iterable[Demand], properties: Iterable[str]) -> None:
    """Raise ValueError for a demand on a property that is not among those that will be scored."""
    known = sorted(set(properties))
    for demand in demands:
        if demand.property not in known:
            hint = nearest(demand.property, known)
            raise ValueError(f"--sae-min {demand}: no test of this run scores {demand.property}.{hint}")
