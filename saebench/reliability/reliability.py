"""The benchmark of the benchmark: what every property is put through, and which properties fail what.

Lenses are judged one by one and never folded into one number. All thresholds in `saebench.reliability.lenses` were chosen before
the scores that they are applied to were measured.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

from saebench.compare.contrasts import Compare, unpaired
from saebench.record.columns import Column, current_scores
from saebench.record.score import Score
from saebench.stats.multiple import holm

FALSE_FINDINGS = 0.05
UNRELATED = {"throughput": "it asks how fast an SAE is, not how good"}
"""Families that no damage and no truth bears on."""
Standing = Literal["passes", "fails", "not evaluable"]
Cells = dict[Column, dict[str, Score]]
"""Scores by column, then by SAE."""


@dataclass(frozen=True)
class Finding:
    """What a lens says about one column."""

    verdict: Standing
    text: str
    """The numbers behind it, or why there are none."""


class Tested(NamedTuple):
    """A finding that waits for its p-value to be corrected for the number of properties."""

    text: str
    p: float
    wrong: str = ""
    """What makes it fail whatever its p-value is."""


@dataclass(frozen=True)
class Data:
    """Scores that are put under lenses. Of one model and, but for `repeats`, of the published repetition."""

    zoo: Cells = field(default_factory=dict)
    """Real SAEs; no controls."""
    planted: Cells = field(default_factory=dict)
    """SAEs with their damaged versions, the oracle and random directions, by the names that `~` gives them."""
    repeats: dict[Column, dict[str, list[Score]]] = field(default_factory=dict)
    """The same SAE with other seeds, those of a column in the order of seeds."""
    architectures: Cells = field(default_factory=dict)
    """SAEs of several architectures, sparsities and training seeds, each named `…/l0-…/seed-…`."""
    truth: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """What is known of each SAE of the zoo without any suite, by name."""
    compare: Compare = unpaired
    """How two scores are compared."""

    @classmethod
    def of(
        cls, zoo: Sequence[Score], planted: Sequence[Score], architectures: Sequence[Score] = (),
        truth: Mapping[str, Mapping[str, float]] | None = None, compare: Compare = unpaired,
    ) -> "Data":  # fmt: skip
        """Arrange the scores of three files."""
        real = [score for score in zoo if not score.control]
        return cls(_cells(real), _cells(planted), _repeats(planted), _cells(architectures), truth or {}, compare)

    @cached_property
    def columns(self) -> list[Column]:
        """What can be ranked, in the order of its first score."""
        cells = self.zoo | {column: found for column, found in self.planted.items() if column not in self.zoo}
        return [column for column, found in cells.items() if next(iter(found.values())).better != "neither"]

    @cached_property
    def bases(self) -> list[str]:
        """SAEs that have a damaged version."""
        names = dict.fromkeys(name for found in self.planted.values() for name in found)
        return list(dict.fromkeys(name.partition("~")[0] for name in names if "~" in name and "~oracle" not in name))

    def trained(self, column: Column, base: str) -> Score | None:
        return self.planted.get(column, {}).get(base) or self.zoo.get(column, {}).get(base)


@dataclass(frozen=True)
class Lens:
    """One question that is asked of every property."""

    name: str
    question: str
    rule: str
    """When a property fails."""
    judge: Callable[[Data], dict[Column, Finding]]


@dataclass(frozen=True)
class Card:
    """All findings: by column, then by the name of the lens."""

    findings: dict[Column, dict[str, Finding]]
    seconds: dict[Column, float]
    """Mean time of one score of the zoo, without what is measured once for all properties of an SAE."""


def make_card(data: Data, lenses: Sequence[Lens]) -> Card:
    """Put every column under every lens."""
    judged = {lens.name: lens.judge(data) for lens in lenses}
    findings = {c: {name: found[c] for name, found in judged.items()} for c in data.columns}
    return Card(findings, {column: _seconds(data, column) for column in data.columns})


def unrelated(column: Column) -> Finding | None:
    reason = UNRELATED.get(column.family)
    return Finding("not evaluable", reason) if reason else None


def corrected(found: Mapping[Column, Finding | Tested]) -> dict[Column, Finding]:
    """Verdicts by p-values that are corrected for the number of properties (Holm)."""
    tested = {column: one for column, one in found.items() if isinstance(one, Tested)}
    adjusted = dict(zip(tested, holm([one.p for one in tested.values()]), strict=True))
    return {
        column: one if isinstance(one, Finding) else _judged(one, adjusted[column]) for column, one in found.items()
    }


def _judged(one: Tested, p: float) -> Finding:
    text = f"{one.text}, p {f'{p:.2g}' if p >= 0.001 else '< 0.001'}" + (f"; {one.wrong}" if one.wrong else "")
    return Finding("passes" if p <= FALSE_FINDINGS and not one.wrong else "fails", text)


def failing(card: Card) -> dict[str, list[str]]:
    """Map each property that fails something to the lenses it fails.

    Where only some of its columns fail a lens, their parameters stand behind the lens's name.
    """
    found: dict[str, list[str]] = {}
    of_property: dict[str, list[Column]] = defaultdict(list)
    for column in card.findings:
        of_property[column.name].append(column)
    for name, columns in of_property.items():
        for lens in card.findings[columns[0]]:
            failed = [column for column in columns if card.findings[column][lens].verdict == "fails"]
            if failed:
                which = ", ".join(filter(None, map(parameters, failed)))
                found.setdefault(name, []).append(f"{lens} ({which})" if len(failed) < len(columns) else lens)
    return found


def parameters(column: Column) -> str:
    return ", ".join(value for _, value in column.params)


def _cells(scores: Sequence[Score]) -> Cells:
    found: Cells = {}
    for score in current_scores(scores):
        found.setdefault(Column.of(score), {})[score.sae] = score
    return found


def _repeats(scores: Sequence[Score]) -> dict[Column, dict[str, list[Score]]]:
    """Scores of every SAE that was measured with more than one seed, of its newest weights."""
    newest = {score.sae: score.sae_digest for score in current_scores(scores)}
    found: dict[Column, dict[str, list[Score]]] = {}
    for score in sorted(scores, key=lambda score: score.seed):
        if newest.get(score.sae) == score.sae_digest:
            found.setdefault(Column.of(score), {}).setdefault(score.sae, []).append(score)
    return {
        column: {sae: repeated for sae, repeated in saes.items() if len(repeated) > 1} for column, saes in found.items()
    }


def _seconds(data: Data, column: Column) -> float:
    scores = [*(data.zoo.get(column) or data.planted.get(column, {})).values()]
    return sum(score.seconds for score in scores) / max(len(scores), 1)
