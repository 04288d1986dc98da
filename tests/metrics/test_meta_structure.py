"""Directions that are put together of a few are told from random ones; those that are not, are not; a dose is read back."""

import numpy as np
import pytest
import taken_apart as planted
import torch
from scipy import stats
from torch import Tensor

from saebench.metrics import meta_structure as metric
from saebench.metrics.absorbed_found import absorbed_found
from saebench.metrics.kin import Kin
from saebench.record.score import Unscored

PARENTS = 24


def above(found: object, by: float = 0.0) -> bool:
    return found.ci_low > found.floor + by  # type: ignore[attr-defined,no-any-return]


def test_sums_of_three_atoms_are_explained_by_what_other_sums_taught() -> None:
    assert above(metric.explained(planted.of_sums(3)), 0.1)


def test_the_more_of_a_direction_is_its_own_the_less_is_explained() -> None:
    found = [metric.explained(planted.of_sums(3, private)) for private in (0.0, 0.7, 3.0)]
    gained = [each.value - each.floor for each in found if each.floor is not None]
    assert gained == sorted(gained, reverse=True)
    assert len(gained) == 3
    assert abs(gained[-1]) < 0.05


@pytest.mark.parametrize("score", [metric.explained, metric.atoms, metric.stability])
def test_random_directions_are_at_the_floor(score: object) -> None:
    found = score(planted.taken(planted.normed(planted.drawn(planted.ROWS, planted.D))))  # type: ignore[operator]
    assert found.value == pytest.approx(found.floor, abs=0.06)


def test_what_was_seen_is_remembered_and_says_nothing() -> None:
    """The published number is of rows that the meta-SAE was trained on: of random ones half is explained there."""
    controls = metric.explained(planted.taken(planted.normed(planted.drawn(planted.ROWS, planted.D)))).controls
    assert controls["seen"] > 0.4
    assert controls["seen"] == pytest.approx(controls["seen_random"], abs=0.03)


def test_directions_at_right_angles_explain_nothing_of_one_another() -> None:
    meta = planted.taken(planted.orthonormal(planted.D, planted.D))
    assert metric.explained(meta).value < 0.05
    assert metric.atoms(meta).value < 0.1


def test_sums_need_several_meta_latents_and_copies_of_atoms_one() -> None:
    sums, atoms = (metric.atoms(planted.of_sums(parts, 0.3)) for parts in (3, 1))
    assert sums.ci_low > 0.5
    assert atoms.ci_high < 0.5 * sums.value
    assert atoms.controls["one_is_enough"] > 0.5 > sums.controls["one_is_enough"]
    assert sums.floor == pytest.approx(0.05, abs=0.05)


def test_what_is_there_is_found_again_with_another_seed() -> None:
    assert above(metric.stability(planted.of_sums(3, 0.3)), 0.05)


def test_items_are_those_of_latents() -> None:
    meta = planted.of_sums(3)
    found = metric.explained(meta)
    assert found.items["latent"].tolist() == meta.unit.latents[meta.own.unseen].tolist()
    assert found.n == round(0.2 * planted.ROWS) == len(found.items["contribution"])
    assert metric.atoms(meta).items["contribution"].mean() == metric.atoms(meta).value


# Absorbed parents


def family(dose: float) -> tuple[Tensor, Kin]:
    """Parents with two children each, of which the first took as much of its parent as the dose says."""
    base = planted.orthonormal(3 * PARENTS, 4 * PARENTS, seed=3)
    parent, first, second = base.split(PARENTS)
    first = planted.normed(first + dose * parent)
    names = np.tile(np.arange(PARENTS).astype(str), 2)
    absorbed = np.repeat([1.0, 0.0], PARENTS)
    return torch.cat([parent, first, second]), Kin(parent.repeat(2, 1), torch.cat([first, second]), absorbed, names)


def test_the_more_a_child_took_of_its_parent_the_more_of_it_is_found() -> None:
    found = {}
    for dose in (0.0, 0.5, 1.0):
        rows, kin = family(dose)
        found[dose] = absorbed_found(planted.taken(rows), kin)
    values = [each.value for each in found.values()]
    assert values == sorted(values)
    assert abs(values[0]) < 0.15
    assert found[1.0].ci_low > 0.15
    assert all(abs(each.floor or 0.0) < 0.05 for each in found.values())
    assert found[1.0].controls["cosine"] == pytest.approx(0.5**0.5, abs=0.01)


def test_with_other_childrens_parents_nothing_is_found() -> None:
    rows, kin = family(2.0)
    turn = torch.arange(PARENTS).roll(1)
    others = Kin(kin.parent[torch.cat([turn, turn])], kin.child, kin.absorbed, np.roll(kin.name, 1))
    assert abs(absorbed_found(planted.taken(rows), others).value) < 0.1


@pytest.mark.parametrize("absorbed", [0.0, 1.0, 0.4])
def test_without_children_of_both_kinds_there_is_nothing_to_compare(absorbed: float) -> None:
    rows, kin = family(1.0)
    alike = Kin(kin.parent, kin.child, np.full(2 * PARENTS, absorbed), kin.name)
    with pytest.raises(Unscored, match="nothing to compare"):
        absorbed_found(planted.taken(rows, 5), alike)


def test_the_interval_is_over_parents_and_holds_the_value() -> None:
    rows, kin = family(1.0)
    found = absorbed_found(planted.taken(rows), kin)
    assert found.n == PARENTS == len(found.items["item"])
    assert found.items["contribution"].mean() == pytest.approx(found.value)
    # Of two means of independent children, as scipy has it.
    share = found.items["share"]
    own = stats.ttest_ind(share[:PARENTS], share[PARENTS:], equal_var=False).confidence_interval()
    assert (found.ci_low, found.ci_high) == pytest.approx((own.low, own.high), abs=0.05)
