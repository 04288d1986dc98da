"""What is forgotten is a share of what guessing would get wrong, of things that are asked about, and is told with care."""

from dataclasses import replace

import numpy as np
import pytest

from saebench.evidence.unlearning.edits import Setting
from saebench.evidence.unlearning.sweep import Outcome
from saebench.evidence.unlearning.unlearned import Unlearned
from saebench.metrics import unlearning
from saebench.record.score import Unscored

UNITS, EACH, KEPT = 20, 4, 400


def outcome(wrong: int, harmed: int = 0, setting: Setting | None = Setting(2.0, 5, 0.01)) -> Outcome:  # noqa: B008
    forgotten, harm = np.zeros(UNITS * EACH, dtype=bool), np.zeros(KEPT, dtype=bool)
    forgotten[np.random.default_rng(0).permutation(UNITS * EACH)[:wrong]] = True
    harm[:harmed] = True
    return Outcome(setting, forgotten, harm)


def found(own: Outcome, **controls: Outcome) -> Unlearned:
    every = {"dense": outcome(30), "random": outcome(3), **controls}
    return Unlearned(
        forget_unit=tuple(f"city {i // EACH}" for i in range(UNITS * EACH)),
        retain_unit=tuple(f"thing {i}" for i in range(KEPT)), own=own, strongest=outcome(70, 100), controls=every,
        accuracy={"forget": 0.9, "retain": 0.8}, tested=np.arange(100) < 80,
    )  # fmt: skip


@pytest.mark.parametrize(("wrong", "value"), [(0, 0.0), (30, 0.5), (60, 1.0), (80, 4 / 3)])
def test_it_is_the_share_that_guessing_gets_wrong(wrong: int, value: float) -> None:
    estimate = unlearning.forgotten(found(outcome(wrong)))
    assert estimate.value == pytest.approx(value)
    assert 0 <= estimate.ci_low <= value <= estimate.ci_high <= 4 / 3 + 1e-9
    assert estimate.ci_low < estimate.ci_high
    assert estimate.n == UNITS
    assert estimate.floor == pytest.approx(3 / 60)
    assert estimate.controls["dense"] == pytest.approx(0.5)
    assert estimate.items["numerator"].sum() == wrong


def test_where_nothing_is_done_nothing_is_forgotten_and_nothing_harmed() -> None:
    nothing = found(outcome(0, 0, None))
    estimate = unlearning.forgotten(nothing)
    assert (estimate.value, "strength" in estimate.controls) == (0, False)
    assert unlearning.side_effect(nothing).value == unlearning.owed_to_direction(nothing).value == 0
    assert unlearning.forgotten_at_any_cost(nothing).controls["side_effect"] == 0.25


def test_noise_that_forgets_as_much_leaves_nothing_to_the_direction() -> None:
    assert unlearning.owed_to_direction(found(outcome(40), scrambled=outcome(40))).value == 0
    more = unlearning.owed_to_direction(found(outcome(60), scrambled=outcome(15)))
    less = unlearning.owed_to_direction(found(outcome(15), scrambled=outcome(60)))
    assert more.value == pytest.approx(45 / 60) == -less.value
    assert more.ci_low > 0 > less.ci_high


def test_a_side_effect_that_was_not_seen_is_not_ruled_out() -> None:
    none, some = (unlearning.side_effect(found(outcome(40, harmed))) for harmed in (0, 4))
    assert none.value == 0 < none.ci_high < 0.02
    assert some.value == 0.01 < some.ci_high


def test_a_model_that_guesses_has_nothing_to_forget() -> None:
    guessing = replace(found(outcome(40)), tested=np.arange(100) < 27)
    few = replace(found(outcome(40)), forget_unit=("one city",) * UNITS * EACH)
    for bad, reason in ((guessing, "nothing to forget"), (few, "fewer than 8")):
        with pytest.raises(Unscored, match=reason):
            unlearning.forgotten(bad)
