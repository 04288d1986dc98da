"""What a run says of its scores: the word where PASSED would stand, and the last lines."""

from collections.abc import Iterable, Sequence

import numpy as np
from tabulate import tabulate

from saebench.compare.judging import Judgement, counted, nothing_compared
from saebench.record.naming import shown
from saebench.record.score import Score
from saebench.record.wording import number, tenths, with_interval
from saebench.session.reasons import reason_lines

MOST_LINES = 60
"""Lines about the noise of random stages: a property of an SAE each."""


def status_word(score: Score, judgement: Judgement | None = None) -> str:
    """`0.412 ±0.038  mdd 0.054  l0 16.0`: with the minimum detectable difference, or the games that ±0.05 needs."""
    detectable, games = (score.controls.get(name) for name in ("minimum_detectable_difference", "games_needed"))
    parts = [
        with_interval(score.value or 0.0, score.half_width() or 0.0),
        f"mdd {number(detectable)}" if detectable is not None else "",
        f"{games:.0f} games for ±0.05" if games is not None else "",
        f"l0 {tenths(score.l0)}" if score.l0 is not None else "",
        judgement.word if judgement is not None and judgement.word != "ok" else "",
        "(stored)" if score.cached else "",
    ]
    return shown("  ".join(part for part in parts if part))


def summary(
    scores: Sequence[Score], judgements: Sequence[Judgement], notes: Iterable[str], expected: int, path: str
) -> list[str]:
    """Reasons of what is unscored, notes, what the gate found, and the line that counts."""
    unscored = [score for score in scores if score.value is None]
    lines = reason_lines([score for score in unscored if not score.seed])
    lines += [f"saebench: {note}" for note in notes]
    lines += reseed_lines(scores)
    lines += [f"saebench: {note}" for note in dict.fromkeys(judgement.note for judgement in judgements) if note]
    if judged := counted(judgements):
        nothing = ": nothing could be compared with the baseline" if nothing_compared(judgements) else ""
        lines.append(f"saebench: {judged}{nothing}")
    resumed = sum(score.cached for score in scores)
    recorded = len(scores) - len(unscored)
    without = sum(judgement.word == "new" for judgement in judgements) if judgements else len(scores)
    lines.append(
        f"saebench: {expected} scores expected, {recorded} recorded ({resumed} from earlier runs),"
        f" {len(unscored)} unscored, {without} without baseline -> {path}"
    )
    return [shown(line, 10_000) for line in lines]


def reseed_lines(scores: Sequence[Score]) -> list[str]:
    """A table of the spread over repetitions of the random stages, beside that of other texts; none without `--sae-seeds`."""
    rows = []
    for base, *others in repetitions(scores):
        values = [score.value for score in (base, *others) if score.value is not None]
        if len(values) > 1:
            half = (base.half_width() or 0.0) / 1.96
            params = ", ".join(str(value) for value in base.params.values())
            name = f"{base.property}{f' ({params})' if params else ''}[{base.sae}]"
            with np.errstate(all="ignore"):
                spread = float(np.std(values, ddof=1))
            rows.append([name, number(values[0]), number(half), number(spread), len(values)])
    if not rows:
        return []
    header = ["score", "value", "sampling sd", "reseed sd", "repetitions"]
    table = tabulate(rows[:MOST_LINES], header, disable_numparse=True, colalign=["left", *["right"] * 4])
    left_out = [f"... and {len(rows) - MOST_LINES} more, in the scores file"] if len(rows) > MOST_LINES else []
    return [*table.splitlines(), *left_out]


def repetitions(scores: Iterable[Score]) -> list[list[Score]]:
    """Measurements that were repeated: that which is published, then the others of each."""
    found: dict[tuple[str, str], list[Score]] = {}
    for score in sorted(scores, key=lambda score: score.seed):
        first = score.model_copy(update={"seed": 0})
        found.setdefault((score.sae, first.identity()), []).append(score)
    return [same for same in found.values() if same[0].seed == 0 and len(same) > 1]
