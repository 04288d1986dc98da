"""Can a topic be unlearned through an SAE without harm? Latents that fire on the topic are clamped below zero.

After Farrell, Lau and Conmy (arXiv 2410.19278), whose score in SAEBench (arXiv 2503.09532) is the best of sixteen ways
to clamp, chosen on the questions that it is reported on. Here the way is chosen on validation questions, about other
things than those of the test. The SAE's error is kept: only what the clamped latents write changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Shaped

from saebench.evidence.unlearning.options import CHANCE
from saebench.record.score import Estimate, Unscored
from saebench.stats.statistics import never_certain, proportion, ratio_of_sums

if TYPE_CHECKING:
    from saebench.evidence.unlearning.sweep import Outcome
    from saebench.evidence.unlearning.unlearned import Unlearned

FEWEST_UNITS = 8
"""Things that questions of the test are about; of fewer no share is told."""


def forgotten(unlearned: Unlearned) -> Estimate:
    """Share of a topic's test questions, of those the model knows, that it gets wrong once latents of the topic are clamped, over the share that guessing gets wrong: 0 = nothing, 1 = all; 0 as well where no way to clamp is harmless.

    (1 - accuracy kept) / (1 - 1/4). Latents that fire on at most .1% or 1% of the tokens of other texts are taken in the
    order of how often they fire on the topic's; the first 1, 5 or 20 are set to minus 1, 2 or 4 times their own 99th
    percentile wherever they are active. Of these ways the one counts that forgets most of the validation questions, of
    those that are harmless there: with 95% confidence at most 1% of the questions about all else go wrong (one-sided,
    Clopper and Pearson). Above 1, wrong answers are preferred. The floor is the same sweep for as many random latents
    that fire as often on both kinds of texts. Controls: `dense`, the difference of means of both kinds of texts, clamped
    likewise, with its own sweep; `scrambled`, the chosen latents writing along random directions as strongly as along
    their own, says how much is mere noise at the topic's tokens. The interval is over what questions are about, for the way that was
    chosen. Raises Unscored where the model does not know the topic, or no latent is of it.
    """
    check_known(unlearned)
    estimate = _share(unlearned.own.forgotten, unlearned.forget_unit, "unlearning.forgotten")
    found = {name: _value(one) for name, one in unlearned.controls.items()}
    setting = unlearned.own.setting
    chosen = {} if setting is None else {"latents": setting.count, "strength": setting.strength, "rare": setting.rare}
    asked = {f"{name}_accuracy": value for name, value in unlearned.accuracy.items()}
    return replace(
        estimate, floor=found["random"], controls={**found, **{k: float(v) for k, v in chosen.items()}, **asked}
    )


def forgotten_at_any_cost(unlearned: Unlearned) -> Estimate:
    """Share of a topic's test questions that the model gets wrong with most latents clamped most strongly, over the share that guessing gets wrong, whatever becomes of all else.

    Twenty latents that fire on at most 1% of the tokens of other texts are set to minus 4 times their own 99th
    percentile wherever they are active. The control `side_effect` is the share of questions about all else that go wrong.
    A large change breaks any model, whence no direction is better: beside `unlearning.forgotten` it tells latents that
    do nothing from those that do harm.
    """
    check_known(unlearned)
    estimate = _share(unlearned.strongest.forgotten, unlearned.forget_unit, "unlearning.forgotten_at_any_cost")
    return replace(estimate, controls={"side_effect": float(unlearned.strongest.harmed.mean())})


def owed_to_direction(unlearned: Unlearned) -> Estimate:
    """How much more of a topic is forgotten by clamping its latents than with random directions in place of theirs, in shares as of `unlearning.forgotten`: 0 = as much, whatever they write; 0 as well where no way to clamp is harmless.

    The same latents are clamped at the same tokens as strongly; each of them writes along a random direction, as long as
    its own. What is forgotten so is owed to noise where the topic is, for which it suffices that latents find it. The
    interval is over what questions are about, which are the same for both.
    """
    check_known(unlearned)
    own, other = unlearned.own, unlearned.controls.get("scrambled", unlearned.own)
    gone = own.forgotten.astype(np.float64) - other.forgotten
    estimate = _share(gone, unlearned.forget_unit, "unlearning.owed_to_direction", lowest=-1 / (1 - CHANCE))
    harm = {"side_effect": float(own.harmed.mean()), "side_effect_scrambled": float(other.harmed.mean())}
    return replace(estimate, controls=harm)


def side_effect(unlearned: Unlearned) -> Estimate:
    """Share of test questions about all else, of those the model knows, that go wrong where a topic is unlearned as well as validation questions say that it can be without harm.

    Of the way to clamp that `unlearning.forgotten` is of. Doing nothing has no side effect, whence no direction is
    better. Chosen at 1% or less with 95% confidence on other questions, it should hardly be above 1% here. Controls: the
    same of `random` latents and of the `dense` direction, each as its own sweep chose, and of the chosen latents writing
    `scrambled` directions.
    """
    check_known(unlearned)
    harmed = unlearned.own.harmed
    estimate = _share(harmed, unlearned.retain_unit, "unlearning.side_effect", whole=1.0)
    rough = proportion(int(harmed.sum()), len(harmed), n_unit="question")
    low, high = min(estimate.ci_low, rough.ci_low), max(estimate.ci_high, rough.ci_high)  # a rare mishap is not seen
    found = {name: float(one.harmed.mean()) for name, one in unlearned.controls.items()}
    return replace(estimate, ci_low=low, ci_high=high, controls=found)


def check_known(unlearned: Unlearned) -> None:
    """Raises Unscored where the model answers no more than one who guesses, or about too few things."""
    units = len(set(unlearned.forget_unit))
    if units < FEWEST_UNITS:
        raise Unscored(f"the model answers questions about {units} things of the topic: fewer than {FEWEST_UNITS}")
    found = proportion(int(unlearned.tested.sum()), len(unlearned.tested), n_unit="question")
    if found.ci_low <= CHANCE:
        raise Unscored(
            f"the model answers {found.value:.0%} of the questions about the topic, and guessing {CHANCE:.0%}:"
            " it has nothing to forget"
        )


def _value(outcome: Outcome) -> float:
    return float(outcome.forgotten.mean() / (1 - CHANCE))


def _share(
    wrong: Shaped[np.ndarray, " question"],
    units: Sequence[str],
    purpose: str,
    whole: float = 1 - CHANCE,
    lowest: float = 0.0,
) -> Estimate:
    """Questions that go wrong over `whole` of all, with an interval over units."""
    names, unit = np.unique(np.array(units), return_inverse=True)
    each = (wrong.astype(np.float64), np.full(len(unit), whole))
    gone, all_of = (np.bincount(unit, weights=one).astype(np.float64) for one in each)
    estimate = never_certain(
        ratio_of_sums(gone, all_of, purpose=purpose, n_unit="thing asked about"), lowest, 1 / whole
    )
    low, high = max(estimate.ci_low, lowest), min(estimate.ci_high, 1 / whole)
    return replace(estimate, ci_low=low, ci_high=high, items={**estimate.items, "item": names})
