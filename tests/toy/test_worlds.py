"""Worlds are what their files say: how often features are on, together and apart, and the same every time."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from saebench.stats.statistics import repeated
from saebench.toy.sampling import curve, sample
from saebench.toy.structure import structure
from saebench.toy.worlds import Atoms, Pairs, World, world_of, worlds

NAMES = sorted(worlds())


def on(world: World, count: int = 32_768) -> NDArray[np.bool_]:
    """(sample, feature) whether a feature is on."""
    return np.asarray(sample(world, count, "a test").features.toarray() != 0)


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_features_along_their_directions(name: str) -> None:
    world = worlds()[name]
    drawn = sample(world, 500, "a test")
    made = torch.from_numpy(drawn.features.toarray()) @ structure(world).directions
    if world.curve:
        made = made + curve(world)[drawn.position]
    torch.testing.assert_close(drawn.x, made)
    assert structure(world).directions.norm(dim=1) == pytest.approx(1.0, abs=1e-5)
    assert drawn.features.data.min() > 0
    assert drawn.x.shape == (500, world.dimensions)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_samples_every_time_and_others_for_another_purpose(name: str) -> None:
    world, state = worlds()[name], torch.get_rng_state()
    first, longer = sample(world, 300, "a test"), sample(world, 5000, "a test")
    torch.testing.assert_close(longer.x[:300], first.x, rtol=0, atol=0)
    assert not torch.equal(sample(world, 300, "another").x, first.x)
    assert torch.equal(torch.get_rng_state(), state)
    with repeated(3):
        structure.cache_clear()
        torch.testing.assert_close(sample(world, 300, "a test").x, first.x, rtol=0, atol=0)


def test_pairs_are_on_together_as_planted() -> None:
    world = worlds()["absorption"]
    seen, start = on(world), 0
    for block in world.blocks:
        assert isinstance(block, Pairs)
        parent, child = (seen[:, start + at : start + block.width : 2] for at in (0, 1))
        assert parent.mean() == pytest.approx(block.parent, abs=0.01)
        assert child.mean() == pytest.approx(block.child, abs=0.005)
        assert parent[child].mean() == pytest.approx(block.together, abs=0.02)
        start += block.width


def test_magnitudes_are_one_and_vary_where_it_is_planted() -> None:
    drawn = sample(worlds()["absorption"], 8192, "a test").features.tocsc()
    assert drawn[:, :16].data == pytest.approx(1.0)
    assert drawn[:, 16:32].data.std() == pytest.approx(0.1, abs=0.01)


def test_groups_of_atoms_are_on_together_as_planted() -> None:
    world = worlds()["composed"]
    seen, start = on(world), 0
    for block in world.blocks:
        assert isinstance(block, Atoms)
        first, second = (seen[:, start + at * block.each : start + (at + 1) * block.each] for at in (0, 1))
        assert max(first.sum(axis=1).max(), second.sum(axis=1).max()) == 1
        one, other = first.any(axis=1), second.any(axis=1)
        assert one.mean() == pytest.approx(block.group, abs=0.01)
        assert other.mean() == pytest.approx(block.group, abs=0.01)
        expected = block.together + (1 - block.together) * block.group
        assert other[one].mean() == pytest.approx(expected, abs=0.02)
        both = one & other
        same = (first[both].argmax(axis=1) == second[both].argmax(axis=1)).mean()
        assert same == pytest.approx(1.0 if block.matched else 1 / block.each, abs=0.03)
        start += block.width


def test_children_in_trees_are_on_where_their_parents_are_alone() -> None:
    world = worlds()["tree"]
    truth, seen = structure(world), on(world, 8192)
    child = np.flatnonzero(truth.parent >= 0)
    assert not (seen[:, child] & ~seen[:, truth.parent[child]]).any()
    assert truth.depth.max() == 3
    assert (truth.parent >= 0).sum() == 14 * (4 + 16 + 64)
    assert len(np.unique(truth.cluster)) == 2048 - 14 * 84
    assert 5 < seen.sum(axis=1).mean() < 20


def test_features_are_orthogonal_where_there_is_room() -> None:
    for name in ("absorption", "composed", "flat"):
        rows = structure(worlds()[name]).directions
        torch.testing.assert_close(rows @ rows.T, torch.eye(len(rows)), rtol=0, atol=1e-5)


def test_digests_tell_worlds_apart() -> None:
    assert len({world.digest for world in worlds().values()}) == len(NAMES)


def test_a_world_that_is_not_there_is_named_with_the_nearest() -> None:
    with pytest.raises(
        ValueError, match=r"toy:absorbtion: no such toy world\. .*absorption.*Known: absorption, composed"
    ):
        world_of("toy:absorbtion")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("about = 'x'", "is no toy world"),
        ("about = 'x'\nversion = 1\ndimensions = 4\n[[block]]\nkind = 'pears'", "pears"),
        ("about = 'x'\nversion = 1\ndimensions = 4\n[[block]]\nkind = 'pairs'\nname = 'a'\ncuont = 3", "has no cuont"),
        ("about = 'x'\nversion = 1\ndimensions = 4\nheight = 2\n[[block]]\nkind = 'independent'", "height"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_world_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(ValueError, match=said):
        worlds(tmp_path)
