"""Scores as the JSON that SAEBench publishes, for what both measure (schema of sae-bench 0.6.0).

Numbers stand under a name of SAEBench's only if they are what that name says: what is centred here and is not there has a
property of its own. Where SAEBench's own number is wrong, or hangs on the size of a batch, the right one stands there, and
`definitions` beside it says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from saebench.exchange.saebench_absorption import absorption
from saebench.exchange.saebench_core import core
from saebench.exchange.saebench_document import Json, Left, Measured, Part, document, file_name
from saebench.exchange.saebench_perturbation import scr, tpp
from saebench.exchange.saebench_probing import probing
from saebench.exchange.saebench_ravel import ravel
from saebench.exchange.verification import published_scores
from saebench.record.score import Score
from saebench.record.store import Store

EVALS: dict[str, Callable[[Measured, bool], Part]] = {
    "core": core, "absorption": absorption, "sparse_probing_sae_probes": probing, "tpp": tpp, "scr": scr,
    "ravel": ravel,
}  # fmt: skip
"""Folder to what makes its documents."""


@dataclass(frozen=True)
class Exported:
    """Documents by path below the target, and the SAEs that an eval has none of, by the reason."""

    documents: dict[str, Json] = field(default_factory=dict)
    left_out: dict[tuple[str, str], list[str]] = field(default_factory=dict)


def export(store: Store, *, gaps: bool = False) -> Exported:
    """Make one document per eval and SAE; with `gaps`, -1 stands for each number of `core` that is not measured.

    Controls are left out. Raises ValueError if items are missing or damaged, or two SAEs would have one path.
    """
    found = Exported()
    for sae, scores in _by_sae(published_scores(store)).items():
        measured = Measured.of(store, scores)
        for name, make in EVALS.items():
            try:
                made = document(make(measured, gaps))
            except Left as reason:
                found.left_out.setdefault((name, str(reason)), []).append(sae)
                continue
            path = f"{name}/{file_name(made, sae)}"
            if path in found.documents:
                raise ValueError(f"two SAEs would write {path}, one of them {sae}: export them from files of their own")
            found.documents[path] = made
    return found


def _by_sae(scores: Sequence[Score]) -> dict[str, list[Score]]:
    """SAE, with its model where there are several, to its scores."""
    several = len({score.model for score in scores}) > 1
    found: dict[str, list[Score]] = {}
    for score in scores:
        if not score.control:
            name = f"{score.sae} on {score.model}" if several else score.sae
            found.setdefault(name, []).append(score)
    return found
