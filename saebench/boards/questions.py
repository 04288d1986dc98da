"""What each column of a leaderboard asks, read from the suites and metrics without importing them."""

from collections.abc import Mapping, Sequence

from saebench.boards.markdown import escaped
from saebench.record.score import Score


def questions_section(scores: Sequence[Score], questions: Mapping[str, str], defined: Mapping[str, str]) -> str:
    """Per family its question, and below it what each of its columns is."""
    lines = ["## What the columns ask"]
    families: dict[str, list[Score]] = {}
    for score in scores:
        families.setdefault(_family(score), []).append(score)
    for family, own in families.items():
        lines.append(f"**{escaped(family)}**: {questions.get(family, 'no question is written down for this family.')}")
        lines.append("\n".join(_column_lines(own, defined)))
    return "\n\n".join(lines)


def _column_lines(scores: Sequence[Score], defined: Mapping[str, str]) -> list[str]:
    """Properties that are defined and measured alike share a line."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name, version in dict.fromkeys((score.property, score.version) for score in scores):
        same = [score for score in scores if (score.property, score.version) == (name, version)]
        groups.setdefault((defined.get(name, ""), _measured(same)), []).append(name.partition(".")[2] or name)
    return [
        f"- {', '.join(f'**{escaped(name)}**' for name in names)} ({escaped(how)}){': ' if what else ''}{escaped(what)}"
        for (what, how), names in groups.items()
    ]


def _measured(scores: Sequence[Score]) -> str:
    scored = [score for score in scores if score.value is not None]
    sizes, units = sorted({score.n for score in scored}), sorted({score.n_unit for score in scored})
    n = f"n = {' to '.join(dict.fromkeys(str(size) for size in (sizes[0], sizes[-1])))}" if sizes else ""
    named = f"{n} {'/'.join(unit + 's' * (sizes != [1]) for unit in units)}".strip()
    return ", ".join(filter(None, [f"version {scores[0].version}", scores[0].unit, named]))


def _family(score: Score) -> str:
    return score.property.partition(".")[0]
