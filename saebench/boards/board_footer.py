"""How the scores of a leaderboard were made: the command, and what it ran with."""

import shlex
from collections.abc import Callable, Sequence

from saebench.boards.markdown import escaped, fenced
from saebench.catalogue.architectures import trained_as
from saebench.record.naming import natural, shown, shown_model
from saebench.record.score import Score
from saebench.record.wording import DASH

DEFAULT_BUDGET = "quick"


def footer(scores: Sequence[Score], command: str, hidden: int) -> str:
    """Write the page's last section; `hidden` is how many scores of the file the page does not show."""
    unscored = sum(score.value is None for score in scores)
    left_out = f"; {hidden} of other weights, seeds or columns left out" if hidden else ""
    facts = {
        "Scores": f"{len(scores)}, of which {unscored} unscored{left_out}",
        "Measured": " to ".join(dict.fromkeys(ends)) if (ends := _ends(scores)) else "",
        "Budget": _listed(scores, lambda score: score.budget),
        "Device": _listed(scores, lambda score: f"{score.device} in {score.dtype}"),
        "Model": _listed(scores, lambda score: f"{shown_model(score.model)} ({score.model_digest[:12]})"),
        "Corpus": _listed(scores, lambda score: score.corpus),
        "Commit": _listed(scores, lambda score: score.commit + " with uncommitted changes" * score.dirty),
        "Versions": ", ".join(sorted({f"{name} {v}" for score in scores for name, v in score.versions.items()})),
    }
    lines = [f"- {name}: {escaped(fact) or DASH}" for name, fact in facts.items()]
    return "\n\n".join(("## How this was made", fenced(shown(command, most=len(command))), "\n".join(lines)))


def run_command(scores: Sequence[Score], name: str) -> str:
    """The command that makes these scores: each SAE by its name, as a family is what lies on a machine."""
    names = sorted({score.sae for score in scores}, key=natural)
    budgets = {score.budget for score in scores} - {""}
    budget = f" --sae-budget {shlex.quote(budgets.pop())}" if len(budgets) == 1 and budgets != {DEFAULT_BUDGET} else ""
    loaded = [name for name in names if not trained_as(name)]
    trained = dict.fromkeys(filter(None, map(trained_as, names)))
    chosen = " ".join(
        f"{option} {shlex.quote(name)}"
        for option, named in (("--sae", loaded), ("--sae-arch", trained))
        for name in named
    )
    return f"pytest suites/ {chosen}{budget} --sae-scores .saebench/{shlex.quote(name)}.jsonl"


def _ends(scores: Sequence[Score]) -> list[str]:
    dates = sorted(score.created for score in scores if score.created)
    return [dates[0], dates[-1]] if dates else []


def _listed(scores: Sequence[Score], fact: Callable[[Score], str]) -> str:
    return ", ".join(sorted({fact(score) for score in scores} - {""}))
