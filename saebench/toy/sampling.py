"""Samples of a world: activations, and which features are on in each and how much. The same seed, the same samples."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from sae_lens.synthetic import ActivationGenerator, generate_random_low_rank_correlation_matrix
from scipy import sparse
from torch import Tensor

from saebench.stats.statistics import fixed_seed_of
from saebench.toy.structure import forest, structure
from saebench.toy.worlds import Atoms, Block, Forest, Independent, Pairs, World

AT_ONCE = 4096
"""Samples that are generated at a time."""


@dataclass(frozen=True)
class Sample:
    """Activations, and their truth."""

    x: Float[Tensor, "sample d"]
    features: sparse.csr_array
    """(sample, feature) how much each feature is on."""
    position: Int[Tensor, " sample"]
    directions: Float[Tensor, "feature d"]


def sample(world: World, count: int, purpose: str) -> Sample:
    """Generate samples for a purpose, `evaluation` or `training`; a longer sample begins with a shorter one."""
    parts = [_part(world, purpose, at) for at in range(-(-count // AT_ONCE))]
    x, features = torch.cat([part[0] for part in parts])[:count], sparse.vstack([part[1] for part in parts])
    return Sample(
        x,
        sparse.csr_array(features.tocsr()[:count]),
        torch.arange(count) % world.positions,
        structure(world).directions,
    )


def training_rows(world: World, count: int) -> Float[Tensor, "sample d"]:
    """Activations that no score is measured on; of positions, the first half alone."""
    if world.positions == 1:
        return sample(world, count, "training").x
    drawn = sample(world, 2 * count, "training")
    return drawn.x[drawn.position < world.positions // 2]


def _part(world: World, purpose: str, at: int) -> tuple[Tensor, sparse.csr_array]:
    with torch.random.fork_rng(devices=[]):  # sae-lens draws from torch's own generator
        torch.manual_seed(fixed_seed_of(f"toy {world.name} {purpose} {at}"))
        values = torch.cat([_values(block, AT_ONCE) for block in world.blocks], dim=1)
    x = values @ structure(world).directions
    if world.curve:
        x = x + curve(world)[(at * AT_ONCE + torch.arange(AT_ONCE)) % world.positions]
    return x, sparse.csr_array(values.numpy())


@lru_cache(maxsize=4)
def curve(world: World) -> Float[Tensor, "position d"]:
    """(position, d) what is added at each position: a turn and a half of a helix in three random directions."""
    generator = torch.Generator().manual_seed(fixed_seed_of(f"toy curve of {world.name}"))
    axes = torch.linalg.qr(torch.randn(world.dimensions, 3, generator=generator, dtype=torch.float64)).Q.T
    share = torch.arange(world.positions, dtype=torch.float64) / world.positions
    turns = torch.stack([torch.cos(3 * torch.pi * share), torch.sin(3 * torch.pi * share), 2 * share - 1], dim=1)
    made: Tensor = world.curve * torch.nn.functional.normalize(turns, dim=1) @ axes
    return made.float()


def _values(block: Block, count: int) -> Tensor:
    """(sample, feature) how much each feature of a block is on."""
    if isinstance(block, Pairs):
        return _pairs(block, count)
    if isinstance(block, Atoms):
        return _atoms(block, count)
    on: Tensor = _generator(block).sample(count)
    magnitudes: Tensor = torch.exp(block.spread * torch.randn(on.shape))
    return on * magnitudes


@lru_cache(maxsize=4)
def _generator(block: Forest | Independent) -> ActivationGenerator:
    """sae-lens's, of which features are on; magnitudes are drawn behind it."""
    if isinstance(block, Independent):
        return ActivationGenerator(block.features, zipf(block.features, block.most, block.least))
    trees = forest(block)
    correlation = generate_random_low_rank_correlation_matrix(
        block.features, block.rank, block.correlation, seed=fixed_seed_of(f"toy correlation {block.name}")
    )
    return ActivationGenerator(
        block.features, _of_forest(block), modify_activations=trees.modifier, correlation_matrix=correlation
    )


def zipf(count: int, most: float, least: float) -> Float[Tensor, " feature"]:
    """(feature,) Zipf's law between the most frequent feature and the rarest."""
    ranks = torch.arange(1, count + 1, dtype=torch.float64)
    return (least + (most - least) * (1 / ranks - 1 / count) / (1 - 1 / count)).float()


def _of_forest(block: Forest) -> Tensor:
    """(feature,) how often each is on where its parent is."""
    world = World("", "", 0, 1, (block,))
    parent = structure(world).parent
    in_tree = np.zeros(block.features, dtype=bool)
    in_tree[parent[parent >= 0]] = in_tree[parent >= 0] = True
    generator = torch.Generator().manual_seed(fixed_seed_of(f"toy children {block.name}"))
    low, high = block.child
    found = low + (high - low) * torch.rand(block.features, generator=generator)
    roots, alone = torch.from_numpy((parent < 0) & in_tree), torch.from_numpy(~in_tree)
    found[roots] = torch.linspace(block.most, block.rarest_root, int(roots.sum()))
    found[alone] = zipf(int(alone.sum()), block.most, block.least)
    return found


def _pairs(block: Pairs, count: int) -> Tensor:
    """Parent and child by turns. Parents are on as often as planted, whether the child is on or not."""
    child = torch.rand(count, block.count) < block.child
    without = (block.parent - block.child * block.together) / (1 - block.child)
    parent = torch.rand(count, block.count) < torch.where(child, block.together, without)
    on = torch.stack([parent, child], dim=2).flatten(1).float()
    return on * (1 + block.noise * torch.randn(on.shape)).clamp(min=0)


def _atoms(block: Atoms, count: int) -> Tensor:
    """The first group's atoms, then the second's; each atom of a group is as often on as the others."""
    first, alone = torch.rand(count) < block.group, torch.rand(count) < block.group
    second = torch.where(torch.rand(count) < block.together, first, alone)
    drawn = torch.randint(block.each, (2, count))
    drawn[1] = drawn[0] if block.matched else drawn[1]
    on = [
        torch.nn.functional.one_hot(atom, block.each) * group[:, None]
        for atom, group in zip(drawn, (first, second), strict=True)
    ]
    return torch.cat(on, dim=1).float()
