"""Can one attribute of an entity be changed through an SAE's latents while all others stay?

After RAVEL (Huang et al. 2024, arXiv 2402.17700), with latents of an SAE as in SAEBench (Karvonen et al. 2025, arXiv
2503.09532). All numbers are of test entities, on which nothing was chosen.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from saebench.record.score import Estimate, Unscored
from saebench.stats.statistics import Floats
from saebench.stats.two_way import over_concepts

if TYPE_CHECKING:
    from saebench.evidence.entities.outcome import Outcome

UNCHANGED = "no latent changes from entity to entity along what the model's answers depend on: there is none to patch"
Sums = dict[str, Floats]
Statistic = Callable[[Sums], Floats]
FEWEST_PAIRS = 5
"""Pairs that a question must be asked of."""
NOTHING = 0.5
"""Score of what changes nothing: no cause, and perfect isolation."""
REACHED = 0.5
"""Share of answers that must change where the whole activation is the source's: below, it is not read there any more."""


def score(disentangled: Sequence["Outcome"], error: str) -> Estimate:
    """Mean of cause and isolation over attributes and the sentences that ask for them: 0.5 where nothing or all is changed.

    Cause: with the latents of an attribute as they are at another entity, the model answers that entity's value. Isolation:
    with the same latents, it still answers the entity's own value of other attributes. The floor is 0.5, or what as many other
    latents reach that are active as often. The ceiling is what the dense method reaches: per attribute the better one, on
    validation entities, of a linear map of the whole activation, by least squares from gradients at training entities, and
    of a subspace trained by distributed alignment search, where the budget trains one. Both begin from few entities, so that
    an SAE may pass them. What the SAE does not reconstruct is kept, or dropped, as `error` says.
    """
    estimate = _scored(disentangled, error, _score, "score")
    return replace(estimate, floor=max(NOTHING, estimate.controls["random_latents"]))


def cause(disentangled: Sequence["Outcome"], error: str) -> Estimate:
    """Share of answers that become another entity's value with the attribute's latents as they are there.

    It says nothing by itself: 1 is reached by whatever replaces the whole activation. Mean over attributes and sentences.
    """
    return _scored(disentangled, error, _cause, "cause")


def isolation(disentangled: Sequence["Outcome"], error: str) -> Estimate:
    """Share of answers about other attributes that stay the entity's own with one attribute's latents patched.

    It says nothing by itself: 1 is reached by whatever changes nothing. Mean over the attributes that are patched and
    sentences.
    """
    return _scored(disentangled, error, _isolation, "isolation")


def _cause(s: Sums) -> Floats:
    return s["changed"] / s["asked"]


def _isolation(s: Sums) -> Floats:
    return s["kept"] / s["others"]


def _score(s: Sums) -> Floats:
    return (_cause(s) + _isolation(s)) / 2


def _scored(outcomes: Sequence["Outcome"], error: str, statistic: Statistic, name: str) -> Estimate:
    chosen = answerable(outcomes)
    if not any(outcome.latents.any() for outcome in outcomes):
        raise Unscored(UNCHANGED)
    sums = _merged([outcome.own[error] for outcome in outcomes], chosen)
    columns = np.array([column for outcome in outcomes for column in outcome.columns])[chosen]
    estimate = over_concepts(
        sums, statistic, purpose=f"disentanglement.{name}", concepts=columns.tolist(), span=(0.0, 1.0)
    )
    bounds = {
        "random": [outcome.random[error] for outcome in outcomes],
        "dense": [outcome.bounds["dense"] for outcome in outcomes],
        "full": [outcome.bounds["full"] for outcome in outcomes],
    }
    found = {what: _mean(_merged(each, chosen), statistic) for what, each in bounds.items()}
    latents = np.concatenate([outcome.latents[outcome.known] for outcome in outcomes])
    known = {
        "random_latents": found["random"], "dense_map": found["dense"], "whole_activation": found["full"],
        "latents_patched": float(latents.mean()), "right_without_patch": float(_right(outcomes)),
    }  # fmt: skip
    return replace(estimate, floor=found["random"], ceiling=found["dense"], controls={**estimate.controls, **known})


def answerable(outcomes: Sequence["Outcome"]) -> Bool[np.ndarray, " question"]:
    """(question,) of all kinds, whether the model answers it and reads the answer where activations are patched.

    Raises Unscored where fewer than two are left.
    """
    full = [outcome.bounds["full"] for outcome in outcomes]
    total = {name: np.concatenate([sums[name].sum(axis=0) for sums in full]) for name in full[0]}
    enough = (total["asked"] >= FEWEST_PAIRS) & (total["others"] >= FEWEST_PAIRS)
    reached = total["changed"] >= REACHED * total["asked"]
    known = np.concatenate([np.repeat(outcome.known, outcome.asked.templates) for outcome in outcomes])
    found: np.ndarray = enough & reached & known
    if found.sum() < 2:
        raise Unscored(
            f"of {len(enough)} questions about entities, the model is right about enough pairs for {enough.sum()}, of these"
            f" {(enough & reached).sum()} change with the whole activation, and for {found.sum()} of those latents can be"
            f" chosen: fewer than two. By itself it is right in {_right(outcomes):.0%} of cases"
        )
    return found


def _right(outcomes: Sequence["Outcome"]) -> float:
    """Share of questions and entities that the model is right about by itself."""
    return float(np.concatenate([outcome.right for outcome in outcomes]).mean())


def _merged(each: Sequence[Sums], chosen: Float[np.ndarray, " question"] | np.ndarray) -> Sums:
    """(entity, question) sums of all kinds, whose entities and questions have nothing in common."""
    from scipy.linalg import block_diag

    return {name: np.asarray(block_diag(*(sums[name] for sums in each)))[:, chosen] for name in each[0]}


def _mean(sums: Sums, statistic: Statistic) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        values = statistic({name: value.sum(axis=0) for name, value in sums.items()})
    return float(np.nanmean(values))
