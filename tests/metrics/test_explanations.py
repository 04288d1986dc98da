from typing import Any

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from saebench.evidence.examples import Examples
from saebench.evidence.judged import Judged, Likeness
from saebench.judges.passages import Passages
from saebench.metrics import explanations
from saebench.record.score import Unscored

LATENTS = 60


def judged(right: float, other: float = 0.5, *, random: float | None = None, seed: int = 0, silent: int = 0) -> Judged:
    """Answers that are right with some probability, with each latent's own explanation and with that of another."""
    rng = np.random.default_rng(seed)
    truth = np.stack([rng.permutation(np.arange(14) < 4) for _ in range(LATENTS)])
    answers = [np.where(rng.random(truth.shape) < share, truth, ~truth).astype(float) for share in (right, other)]
    answers[0][:silent] = np.nan
    return Judged(
        latents=np.arange(LATENTS), explanations=["x"] * LATENTS, truth=truth, own=answers[0], other=answers[1],
        texts=[["text"] * 14] * LATENTS, asked=asked(), random_model=None if random is None else judged(random, seed=1),
    )  # fmt: skip


def asked() -> Examples:
    nothing = Passages(
        np.zeros((0, 1, 1), dtype=np.intp), np.zeros((0, 1, 1), dtype=bool), np.array([""], dtype=object)
    )
    empty = np.zeros((0, 1), dtype=bool)
    return Examples(
        latents=np.zeros(0, dtype=np.intp), side=np.zeros(0), shown=nothing, judged=nothing, fires=empty, fuzzed=nothing, fits=empty,
        alive=90, rare=20, dense=10,
    )  # fmt: skip


@pytest.mark.parametrize("score", [explanations.detection, explanations.detection_auroc, explanations.fuzzing])
def test_who_is_always_right_is_at_the_ceiling_and_who_guesses_at_the_floor(score: Any) -> None:
    best, guess = score(judged(1.0)), score(judged(0.5))
    assert best.value == best.ceiling == 1.0
    assert best.ci_low < 1.0  # sixty latents are not all
    assert guess.ci_low < 0.5 < guess.ci_high
    assert score(judged(0.0)).value == 0.0
    doses = [score(judged(right)).value for right in (0.5, 0.7, 0.9, 1.0)]
    assert doses == sorted(doses)


@pytest.mark.parametrize("constant", [0.0, 1.0])
def test_a_constant_answer_is_worth_nothing(constant: float) -> None:
    """Of the published accuracy it has 10 of 14."""
    found = judged(1.0)
    found.own[:] = constant
    assert explanations.detection(found).value == 0.5
    assert explanations.detection_auroc(found).value == 0.5


def test_scores_are_those_of_scikit_learn() -> None:
    found = judged(0.8)
    found.own[:] = np.random.default_rng(3).random(found.own.shape) * 0.5 + 0.4 * found.truth
    pairs = list(zip(found.truth, found.own, strict=True))
    balanced = [balanced_accuracy_score(truth, own > 0.5) for truth, own in pairs]
    assert explanations.detection(found).value == pytest.approx(np.mean(balanced))
    assert explanations.detection_auroc(found).value == pytest.approx(np.mean([roc_auc_score(*pair) for pair in pairs]))


def test_the_floor_is_the_best_of_all_controls() -> None:
    assert explanations.detection(judged(0.9, 0.3)).floor == 0.5
    assert explanations.detection(judged(0.9, 0.7)).floor == pytest.approx(0.7, abs=0.05)
    found = explanations.detection(judged(0.9, 0.6, random=0.87))
    assert found.floor == found.controls["random_model"] == pytest.approx(0.87, abs=0.05)
    assert (found.controls["too_rare"], found.controls["too_dense"]) == (20, 10)


def test_latents_without_an_answer_are_left_out_and_counted() -> None:
    found = explanations.detection(judged(1.0, silent=20))
    assert (found.value, found.n, found.controls["unanswered"]) == (1.0, LATENTS - 20, 20)
    assert len(found.items["text"]) == len(found.items["answer"]) == 14 * (LATENTS - 20)
    assert "contribution" not in found.items  # one SAE's latents are none of another's
    with pytest.raises(Unscored, match=r"of 60 latents 4 is|of 60 latents 4"):
        explanations.detection(judged(1.0, silent=LATENTS - 4))


def test_sensitivity_is_held_against_texts_of_others() -> None:
    own = np.array([1.0, 0.8, 0.9, np.nan, 1.0, 0.7, 0.6])
    found = explanations.sensitivity(Likeness(latents=np.arange(7), own=own, other=np.full(7, 0.2)))
    assert found.value == pytest.approx(np.nanmean(own))
    assert found.floor == pytest.approx(0.2)
    assert (found.n, found.controls["without_texts"]) == (6, 1)
    with pytest.raises(Unscored, match="fewer than 5"):
        explanations.sensitivity(Likeness(latents=np.arange(2), own=own[:2], other=own[:2]))
