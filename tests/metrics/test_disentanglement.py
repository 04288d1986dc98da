"""Of a planted reader of entities, whose activations hold each attribute along directions of its own."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from planted_entities import NAMES, PAIRS, VALUES, Along, D, loaded, measured, planted, rotation
from torch import Tensor

from saebench.evidence.entities import subspace
from saebench.evidence.entities.asked import Part
from saebench.evidence.entities.choosing import random_alike
from saebench.evidence.entities.dense import mapped, yardsticks
from saebench.evidence.entities.gradients import gradients, read_gradients
from saebench.evidence.entities.latents import read_latents
from saebench.evidence.entities.mask import trained
from saebench.evidence.entities.patching import scores, tally
from saebench.metrics import disentanglement
from saebench.record.score import Unscored


def values(source: object, chosen: str = "gradient", error: str = "kept") -> dict[str, float]:
    """Means over questions, without their intervals, which take longer."""
    found = measured(planted()[0], source, chosen)
    total = {name: sums.sum(axis=0) for name, sums in found.own[error].items()}
    cause, isolation = total["changed"] / total["asked"], total["kept"] / total["others"]
    return {
        "score": float((cause + isolation).mean() / 2),
        "cause": float(cause.mean()),
        "isolation": float(isolation.mean()),
    }


def mixed(basis: Tensor, degrees: float) -> Tensor:
    """Every value of the first attribute turned towards one of the second, and back."""
    turn, found = math.radians(degrees), basis.clone()
    first, second = basis[:VALUES], basis[VALUES : 2 * VALUES]
    found[:VALUES] = math.cos(turn) * first + math.sin(turn) * second
    found[VALUES : 2 * VALUES] = math.cos(turn) * second - math.sin(turn) * first
    return found


@pytest.mark.parametrize("chosen", ["gradient", "probe"])
@pytest.mark.parametrize("error", ["kept", "dropped"])
def test_latents_that_are_the_values_change_one_attribute_and_no_other(chosen: str, error: str) -> None:
    _, basis = planted()
    found = values(Along(basis, basis), chosen, error)
    # A probe takes some latents of other attributes along that tell this one by chance, among so few entities.
    assert min(found.values()) >= (1.0 if chosen == "gradient" else 0.95)


def test_latents_that_write_elsewhere_change_nothing_as_they_should() -> None:
    _, basis = planted()
    order = torch.randperm(D, generator=torch.Generator().manual_seed(2))
    found = disentanglement.score([measured(planted()[0], Along(basis, basis[order]))], "kept")
    assert found.floor is not None
    assert found.value < found.floor + 0.1


@pytest.mark.parametrize(
    "source",
    [Along(torch.zeros(8, D), torch.ones(8, D)), Along(torch.ones(8, D), torch.zeros(8, D))],
    ids=["dead", "unread"],
)
@pytest.mark.parametrize("chosen", ["gradient", "probe"])
def test_where_no_latent_changes_there_is_nothing_to_patch(source: Along, chosen: str) -> None:
    found = [measured(planted()[0], source, chosen)]
    for measure in (disentanglement.score, disentanglement.cause, disentanglement.isolation):
        with pytest.raises(Unscored, match="there is none to patch"):
            measure(found, "kept")


def test_the_more_two_attributes_are_mixed_the_lower_the_score() -> None:
    _, basis = planted()
    scores = [values(Along(turned, turned))["score"] for turned in (mixed(basis, angle) for angle in (0, 25, 45))]
    assert scores[0] > scores[1] > scores[2]
    other = rotation(seed=1)
    assert values(Along(other, other))["score"] < scores[1]


def test_bounds_are_measured() -> None:
    _, basis = planted()
    found = disentanglement.score([measured(planted()[0], Along(basis, basis))], "kept")
    assert found.ceiling == pytest.approx(1.0)
    assert found.floor == 0.5
    assert found.controls["whole_activation"] == 0.5
    assert found.ci_low < found.value == 1.0  # of so few, nobody is certain
    cause = disentanglement.cause([measured(planted()[0], Along(basis, basis))], "kept")
    assert cause.controls["whole_activation"] == 1.0
    assert cause.floor is not None
    assert cause.floor < 0.5


def test_scale_and_sign_of_latents_do_not_matter() -> None:
    _, basis = planted()
    source = mixed(basis, 30)
    own = values(Along(source, source))
    gain = torch.tensor([-3.0, 0.2, 5.0]).repeat(D // 3)
    assert values(Along(source, source, gain)) == own


def test_a_pair_counts_only_where_the_model_is_right_about_both() -> None:
    asked, basis = planted(wrong=0.3)
    found = measured(asked, Along(basis, basis))
    wrong = ~asked.right[0]
    assert found.own["kept"]["asked"][wrong].sum() == 0
    assert 0 < found.own["kept"]["asked"].sum() < measured(planted()[0], Along(basis, basis)).own["kept"]["asked"].sum()


def test_without_right_answers_there_is_no_score() -> None:
    asked, basis = planted(wrong=1.0)
    with pytest.raises(Unscored, match="right in 0% of cases"):
        disentanglement.score([measured(asked, Along(basis, basis))], "kept")


def test_nothing_is_scored_where_the_whole_activation_does_not_change_the_answer() -> None:
    asked, basis = planted()
    found = measured(asked, Along(basis, basis))
    full = {name: np.zeros_like(sums) if name == "changed" else sums for name, sums in found.bounds["full"].items()}
    with pytest.raises(Unscored, match="of these 0 change with the whole activation"):
        disentanglement.score([replace(found, bounds={**found.bounds, "full": full})], "kept")


def test_kinds_of_entities_are_scored_together() -> None:
    asked, basis = planted()
    good, bad = measured(asked, Along(basis, basis)), measured(asked, Along(basis, torch.zeros(D, D)))
    both = disentanglement.score([good, bad], "kept")
    assert both.value == pytest.approx(0.75)
    assert both.n == 12


def test_a_trained_mask_finds_the_values_too() -> None:
    asked, basis = planted()
    chosen = trained(read_latents(loaded(Along(basis, basis)), asked), steps=40)
    expected = np.repeat(np.eye(len(NAMES), dtype=bool), VALUES, axis=1)
    assert (chosen.numpy() == expected).mean() > 0.95


def test_random_latents_are_as_many_as_there_are_and_others() -> None:
    asked, basis = planted()
    latents = read_latents(loaded(Along(basis, basis)), asked)
    chosen = torch.zeros(len(NAMES), D, dtype=torch.bool)
    chosen[:, :5] = True
    found = random_alike(latents, chosen)
    assert found.sum(1).tolist() == [5, 5, 5]
    assert not (found & chosen).any()


def reached(maps: Tensor) -> float:
    """Mean score of maps at pairs of test entities."""
    asked, _ = planted()
    (sums,) = tally(asked, partial(mapped, [maps], asked), *asked.pairs(Part.TEST, PAIRS))
    return float(scores(sums).mean())


def test_a_subspace_is_trained_to_what_carries_each_attribute() -> None:
    asked, _ = planted()
    start = torch.randn(len(NAMES), D, D, generator=torch.Generator().manual_seed(3))
    before, after = (reached(subspace.trained(asked, start, VALUES, steps)) for steps in (0, 150))
    assert before < 0.6
    assert after > 0.9
    found = subspace.trained(asked, start, VALUES, 1)
    torch.testing.assert_close(found @ found, found)
    assert found[0].trace() == pytest.approx(VALUES, abs=1e-3)


def test_training_takes_part_in_the_ceiling_only_where_it_helps() -> None:
    asked, _ = planted()
    found = read_gradients(asked, gradients(asked, PAIRS))
    plain, trained_too = (float(scores(yardsticks(asked, found, PAIRS, steps)["dense"]).mean()) for steps in (0, 5))
    assert trained_too == plain == pytest.approx(1.0)


def test_an_sae_that_gives_nan_has_no_score() -> None:
    asked, basis = planted()
    with pytest.raises(Unscored, match=r"NaN|not finite|finite"):
        measured(asked, Along(basis * math.nan, basis))
