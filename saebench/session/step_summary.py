"""A summary for a CI's page: where GitHub names a file for one, the run's first table and what the gate found."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from saebench.boards.board import by_model, tables
from saebench.boards.first_screen import first_table, summarised
from saebench.boards.markdown import escaped
from saebench.catalogue.suites import headlines
from saebench.compare.judging import Judgement
from saebench.record.columns import current_scores
from saebench.record.places import suites_dir
from saebench.record.score import Score
from saebench.session.reasons import reason_lines

VARIABLE = "GITHUB_STEP_SUMMARY"


def write_summary(scores: Sequence[Score], judgements: Sequence[Judgement]) -> None:
    """Append to the file that `GITHUB_STEP_SUMMARY` names, if it names one; a run does not fail for it."""
    named = os.environ.get(VARIABLE)
    if named and scores:
        with contextlib.suppress(OSError), Path(named).open("a", encoding="utf-8") as file:
            file.write(step_summary(scores, judgements))


def step_summary(scores: Sequence[Score], judgements: Sequence[Judgement]) -> str:
    """Markdown: how many scores, what fails, the first table of each model, and what is not evaluable."""
    recorded = sum(score.value is not None for score in scores)
    parts = ["## saebench", f"{recorded} of {len(scores)} tests have a score."]
    if failing := [judgement.line for judgement in judgements if judgement.fails]:
        parts.append("\n".join(f"- **worse**: {escaped(line)}" for line in failing))
    elif judgements:
        parts.append("Nothing is worse than the baseline beyond noise and tolerance.")
    for own in by_model(current_scores(scores)).values():
        table = summarised(tables(own), headlines(suites_dir()))
        parts += first_table(table, {}) if table else []
    if reasons := reason_lines([score for score in scores if score.value is None and not score.seed]):
        listed = "\n".join(f"- {escaped(line)}" for line in reasons)
        parts += ["<details><summary>Without a score</summary>", listed, "</details>"]
    return "\n\n".join(parts) + "\n"
