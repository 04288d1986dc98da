"""What is kept of a task is known where the answers are planted; garbage keeps nothing, and noise says so."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from saebench.evidence.cloze import Answered
from saebench.metrics import downstream
from saebench.record.score import Unscored
from saebench.stats.statistics import MDD
from saebench.subject.posed import Marks

N = 200
CLEAN, ABLATED = 0.8, 0.2


def marks(right: NDArray[np.bool_]) -> Marks:
    return Marks(right, np.where(right, -0.2, -2.0))


def drawn(share: float, seed: int) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.random.default_rng(seed).random(N) < share
    return found


def planted(damage: float, *, per_text: int = 1, sae: NDArray[np.bool_] | None = None, **changed: Marks) -> Answered:
    """A share of the questions is answered as the ablated model does, and the others as the clean one."""
    clean, ablated = drawn(CLEAN, 0), drawn(ABLATED, 1)
    mixed = np.where(drawn(damage, 2), ablated, clean) if sae is None else sae
    known = {"sae": marks(mixed), "clean": marks(clean), "ablated": marks(ablated), "noisy": marks(ablated), **changed}
    return Answered(
        **known, chance=np.full(N, 0.1), kind=np.repeat(["fact", "recalled"], N // 2),
        text=np.array([f"{i // per_text}" for i in range(N)]), passage=np.full(N, 30),
    )  # fmt: skip


KEPT = [
    downstream.accuracy_kept,
    downstream.log_p_kept,
    downstream.accuracy_kept_by_length,
    downstream.log_p_kept_by_length,
]


@pytest.mark.parametrize("kept", KEPT)
def test_the_clean_model_keeps_all_and_the_ablated_one_nothing(kept) -> None:
    whole, nothing = kept(planted(0.0)), kept(planted(1.0))
    assert whole.value == pytest.approx(1.0, abs=1e-12)
    assert nothing.value == pytest.approx(0.0, abs=1e-12)
    # Nothing was lost in 200 texts, which does not say that nothing is lost in any.
    assert 0.97 < whole.ci_low < 1.0
    assert nothing.ci_high < 0.05


@pytest.mark.parametrize("kept", KEPT)
def test_more_damage_keeps_less(kept) -> None:
    found = [kept(planted(damage)).value for damage in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)]
    assert found == sorted(found, reverse=True)
    assert found[2] == pytest.approx(0.6, abs=0.15)


def test_the_interval_contains_what_was_planted_and_is_of_texts() -> None:
    single, grouped = (downstream.accuracy_kept(planted(0.3, per_text=size)) for size in (1, 4))
    assert single.ci_low < 0.7 < single.ci_high
    assert (single.n, grouped.n, single.n_unit) == (N, N // 4, "text")
    assert single.value == grouped.value


def test_a_guess_does_not_look_like_a_task_that_is_kept() -> None:
    found = downstream.accuracy_kept(planted(0.0, sae=drawn(ABLATED, 7)))
    assert found.ci_low < 0 < found.ci_high


def test_a_task_that_the_model_cannot_do_says_nothing() -> None:
    same = marks(drawn(ABLATED, 3))
    with pytest.raises(Unscored, match="nothing to keep"):
        downstream.accuracy_kept(planted(0.0, clean=same))
    with pytest.raises(Unscored, match="nothing to keep"):
        downstream.log_p_kept(planted(0.0, clean=planted(0.0).ablated))


def test_a_spliced_model_that_is_better_than_the_clean_one_is_not_scored_and_never_clipped() -> None:
    clean = drawn(CLEAN, 0)
    with pytest.raises(Unscored, match=r"answers 200 of 200 questions rightly and the clean one 1\d\d"):
        downstream.accuracy_kept(planted(0.0, sae=np.ones(N, dtype=bool)))
    slightly = clean.copy()
    slightly[np.flatnonzero(~clean)[:2]] = True
    found = downstream.accuracy_kept(planted(0.0, sae=slightly))
    assert found.value > 1
    assert (found.controls["gained"], found.controls["lost"]) == (2, 0)


def test_few_texts_are_not_enough() -> None:
    with pytest.raises(Unscored, match="questions about 10 texts, and 12 are needed"):
        downstream.accuracy(planted(0.0, per_text=20))


def test_accuracy_has_the_ends_that_were_measured() -> None:
    answered = planted(0.5)
    found = downstream.accuracy(answered)
    assert found.value == answered.sae.right.mean()
    assert (found.floor, found.ceiling) == (answered.ablated.right.mean(), answered.clean.right.mean())


def test_what_stands_beside_a_score() -> None:
    answered = planted(0.3)
    found = downstream.accuracy_kept(answered)
    assert found.controls["noise_of_equal_size"] == 0.0
    assert found.controls["chance"] == pytest.approx(0.1)
    assert found.controls["sae_accuracy_fact"] == answered.sae.right[: N // 2].mean()
    assert found.controls[MDD] == pytest.approx(2.8 * 2**0.5 * (found.ci_high - found.ci_low) / (2 * 1.96), rel=1e-3)
    assert list(found.items["item"]) == sorted({f"{i}" for i in range(N)})
    assert len(found.items["contribution"]) == N


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (5, 0), (7, 3), (4, 4), (30, 12)])
def test_with_one_question_per_text_it_is_mcnemars_exact_test(lost: int, gained: int) -> None:
    difference = np.repeat([-1, 1, 0], [lost, gained, 9])
    expected = stats.binomtest(gained, lost + gained).pvalue if lost + gained else 1.0
    assert downstream.swapped(difference) == pytest.approx(expected)


def test_questions_of_one_text_are_swapped_together() -> None:
    difference = np.array([3, -1, 2, 2, 0, 1])
    signs = np.array(np.meshgrid(*[[-1, 1]] * len(difference))).reshape(len(difference), -1)
    expected = (np.abs(difference @ signs) >= abs(difference.sum())).mean()
    assert downstream.swapped(difference) == pytest.approx(expected)
