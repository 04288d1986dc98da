"""Can the model still do a task with the SAE spliced in?

A cloze question is a passage, and options for what comes next. Answers with the SAE are held against those of the clean
model, and of the model with the mean activation in the place of all, at the very same questions. Where noise cannot be
told from what there is to keep, nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int, Shaped

from saebench.record.score import Estimate, Unscored
from saebench.stats.statistics import DETECTABLE, MDD, NORMAL, Floats, bootstrap, never_certain, ratio_of_sums

if TYPE_CHECKING:
    from saebench.evidence.cloze import Answered
    from saebench.subject.posed import Marks

CLEAR = 3.0
"""Standard errors that the clean model is better than the ablated one, for there to be something to keep."""
FEWEST = 12
"""Texts with questions."""
IMPOSSIBLE = 0.001
"""Chance, by McNemar's test, of so many more right answers than the clean model's that an error is to be looked for."""


@dataclass(frozen=True)
class Sums:
    """Right answers, or logarithms of probabilities, summed per text: some have several questions."""

    text: Shaped[np.ndarray, " text"]
    asked: Float[np.ndarray, " text"]
    sae: Float[np.ndarray, " text"]
    clean: Float[np.ndarray, " text"]
    ablated: Float[np.ndarray, " text"]
    noisy: Float[np.ndarray, " text"] | None

    @property
    def items(self) -> dict[str, Shaped[np.ndarray, " text"]]:
        """What pairs two SAEs: the texts, and what each model makes of them."""
        return {"item": self.text, "asked": self.asked, "clean": self.clean, "sae": self.sae}


def accuracy_kept(answered: Answered) -> Estimate:
    """(accuracy with the SAE - accuracy ablated) / (accuracy of the clean model - accuracy ablated), pooled over cloze questions whose passages fit into the SAE's training context: 0 = as with the mean activation in the place of all, 1 = as the clean model.

    Accuracy is the share of questions of which the right option is likelier than each of the others, or, where there are
    no options, each token of the answer likelier than any other. The interval is over texts. Controls: the accuracies;
    what an error of the same size that is a draw with the activations' covariance keeps; what a guess gets right;
    questions that only the clean model (`lost`) and only the spliced one (`gained`) answers rightly, with the p of
    McNemar's exact test, whole texts being swapped. Raises Unscored where the clean model is not clearly better than the
    ablated one, or where the spliced model is better than the clean one beyond any chance, which no SAE should be.
    """
    return _accuracy_kept(answered)


def accuracy_kept_by_length(answered: Answered) -> Estimate:
    """(accuracy with the SAE - accuracy ablated) / (accuracy of the clean model - accuracy ablated), pooled over cloze questions whose passages are longer than the SAE's training context: up to 2 times as long (`beyond`), or 2 to 4 times (`far`). 0 = as with the mean activation in the place of all, 1 = as the clean model does at that length."""
    return _accuracy_kept(answered)


def log_p_kept(answered: Answered) -> Estimate:
    """(log p with the SAE - log p ablated) / (log p of the clean model - log p ablated), where log p is the mean logarithm of the probability of the right option among the options of a cloze question, or of the whole answer where there are none, in nats; passages fit into the SAE's training context. 0 = as with the mean activation in the place of all, 1 = as the clean model.

    It sees damage that does not yet turn an answer. Above 1 the spliced model is surer of what is right than the clean
    one, which an SAE that sharpens activations can make it. The interval is over texts.
    """
    return _log_p_kept(answered)


def log_p_kept_by_length(answered: Answered) -> Estimate:
    """(log p with the SAE - log p ablated) / (log p of the clean model - log p ablated), where log p is the mean logarithm of the probability of a cloze question's right option among its options, or of the whole answer where there are none, in nats; passages are longer than the SAE's training context: up to 2 times as long (`beyond`), or 2 to 4 times (`far`)."""
    return _log_p_kept(answered)


def accuracy(answered: Answered) -> Estimate:
    """Share of cloze questions that the model answers rightly with the SAE spliced in, of those whose passages fit into the SAE's training context. The ceiling is the clean model's share, the floor that with the mean activation in the place of all."""
    sums = sums_of(answered, lambda marks: marks.right)
    estimate = ratio_of_sums(sums.sae, sums.asked, purpose="downstream.accuracy", n_unit="text")
    estimate = never_certain(estimate, 0.0, 1.0)
    controls = {**estimate.controls, **_accuracies(answered), **_mcnemar(sums, answered)}
    return replace(
        estimate, items={**estimate.items, **sums.items}, controls=controls,
        floor=controls["ablated_accuracy"], ceiling=controls["clean_accuracy"],
    )  # fmt: skip


def sums_of(answered: Answered, value: Callable[[Marks], Shaped[np.ndarray, " question"]]) -> Sums:
    """Sums per text of a value of each question. Raises Unscored for fewer than `FEWEST` texts."""
    text, index = np.unique(answered.text, return_inverse=True)
    if len(text) < FEWEST:
        raise Unscored(f"there are questions about {len(text)} texts, and {FEWEST} are needed")
    marks = {name: getattr(answered, name) for name in ("sae", "clean", "ablated", "noisy")}
    summed = {name: one and np.bincount(index, value(one), len(text)) for name, one in marks.items()}
    return Sums(text, np.bincount(index, minlength=len(text)).astype(np.float64), **summed)


def _accuracy_kept(answered: Answered) -> Estimate:
    sums = sums_of(answered, lambda marks: marks.right)
    estimate, tested = _kept(sums, "downstream.accuracy_kept"), _mcnemar(sums, answered)
    if sums.sae.sum() > sums.clean.sum() and tested["mcnemar_p"] < IMPOSSIBLE:
        raise Unscored(
            f"the spliced model answers {sums.sae.sum():.0f} of {sums.asked.sum():.0f} questions rightly and the clean one"
            f" {sums.clean.sum():.0f} (p = {tested['mcnemar_p']:.1g}): an SAE adds nothing to a model, so that something"
            " is wrong with what was spliced in"
        )
    return replace(estimate, controls={**estimate.controls, **_accuracies(answered), **tested})


def _log_p_kept(answered: Answered) -> Estimate:
    sums = sums_of(answered, lambda marks: marks.log_p)
    estimate = _kept(sums, "downstream.log_p_kept")
    means = {name: float(getattr(sums, name).sum() / sums.asked.sum()) for name in ("sae", "clean", "ablated")}
    return replace(estimate, controls={**estimate.controls, **{f"{name}_log_p": mean for name, mean in means.items()}})


def _kept(sums: Sums, purpose: str) -> Estimate:
    """(SAE - ablated) / (clean - ablated), with what noise keeps, and the minimum detectable difference of two SAEs."""
    _check_clear(sums)
    columns = {"sae": sums.sae, "clean": sums.clean, "ablated": sums.ablated}
    estimate = bootstrap(
        columns, lambda s: (s["sae"] - s["ablated"]) / (s["clean"] - s["ablated"]), purpose=purpose, n_unit="text"
    )
    estimate = never_certain(estimate, 0.0, 1.0)
    error = (estimate.ci_high - estimate.ci_low) / (2 * NORMAL)
    controls = {**estimate.controls, MDD: DETECTABLE * error}
    if sums.noisy is not None:
        kept = (sums.noisy - sums.ablated).sum() / (sums.clean - sums.ablated).sum()
        controls["noise_of_equal_size"] = float(kept)
    return replace(estimate, items={**estimate.items, **sums.items}, controls=controls)


def _check_clear(sums: Sums) -> None:
    """Raise Unscored where a ratio to what the clean model does better than the ablated one is one to noise."""
    lost, n = sums.clean - sums.ablated, len(sums.text)
    rate = lost.sum() / sums.asked.sum()
    left = lost - rate * sums.asked
    error = float((left @ left * n / (n - 1)) ** 0.5 / sums.asked.sum())
    if rate <= CLEAR * error or rate <= 0:
        clean, ablated = (values.sum() / sums.asked.sum() for values in (sums.clean, sums.ablated))
        raise Unscored(
            f"on {sums.asked.sum():.0f} questions the clean model reaches {clean:.2f}, and {ablated:.2f} with the mean"
            f" activation in the place of all: the difference is less than {CLEAR:.0f} times its standard error, so that"
            " there is nothing to keep"
        )


def _accuracies(answered: Answered) -> dict[str, float]:
    """Of the models; of the clean and the spliced one per kind of question as well, where there are several."""
    found = {f"{name}_accuracy": float(getattr(answered, name).right.mean()) for name in ("sae", "clean", "ablated")}
    kinds = np.unique(answered.kind).tolist()
    each = {
        f"{name}_accuracy_{kind}": float(getattr(answered, name).right[answered.kind == kind].mean())
        for kind in kinds if len(kinds) > 1 for name in ("sae", "clean")
    }  # fmt: skip
    counts = {"chance": float(answered.chance.mean()), "questions": float(len(answered.kind))}
    return {**found, **each, **counts, **({"too_long": float(answered.refused)} if answered.refused else {})}


def _mcnemar(sums: Sums, answered: Answered) -> dict[str, float]:
    sae, clean = answered.sae.right, answered.clean.right
    p = swapped(np.rint(sums.sae - sums.clean).astype(np.int64))
    return {"lost": float((clean & ~sae).sum()), "gained": float((sae & ~clean).sum()), "mcnemar_p": p}


def swapped(difference: Int[np.ndarray, " text"]) -> float:
    """Chance that the sum of differences is as far from 0 as it is, if each could have the other sign as well.

    With one question per text it is McNemar's exact test (1947). With several, whole texts are swapped, since their
    questions are not independent. The distribution is computed, and not sampled.
    """
    sizes, counts = np.unique(np.abs(difference[difference != 0]), return_counts=True)
    chances = np.ones(1)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        chances = np.convolve(chances, _steps(size, count))
    sums = np.arange(len(chances)) - (len(chances) - 1) / 2
    return float(min(chances[np.abs(sums) >= abs(difference.sum()) - 0.25].sum(), 1.0))


def _steps(size: int, count: int) -> Floats:
    """Chances of the sums of so many differences of one size with random signs, from the least sum to the largest."""
    from scipy import stats

    found = np.zeros(2 * size * count + 1)
    found[:: 2 * size] = stats.binom.pmf(np.arange(count + 1), count, 0.5)
    return found
