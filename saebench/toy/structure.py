"""What is true of a world's features: their directions, their parents, and which belong together."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from sae_lens.synthetic import Hierarchy, HierarchyConfig, HierarchyNode, generate_hierarchy
from torch import Tensor

from saebench.stats.statistics import Ints, fixed_seed_of
from saebench.toy.worlds import Atoms, Block, Forest, Pairs, World

NONE = -1


@dataclass(frozen=True)
class Structure:
    """Of each feature of a world, by its number."""

    directions: Float[Tensor, "feature d"]
    """Unit rows."""
    parent: Int[np.ndarray, " feature"]
    """`NONE` for a feature that has none."""
    depth: Int[np.ndarray, " feature"]
    """0 for a feature without parent."""
    cluster: Int[np.ndarray, " feature"]
    """Features that hang together: a tree, a pair, the atoms of a block; all others are on their own."""
    block: Int[np.ndarray, " feature"]
    """Number of the world's block."""
    group: Int[np.ndarray, " feature"]
    """0 and 1 for atoms of the first and of the second group; `NONE` for others."""
    implying: Bool[np.ndarray, " feature"]
    """Children that are never on without their parent."""


@lru_cache(maxsize=8)
def structure(world: World) -> Structure:
    """The same on every machine: drawn by a seed of the world's name, and not optimised."""
    parents, groups, blocks, start = list[Ints](), list[Ints](), list[Ints](), 0
    for number, block in enumerate(world.blocks):
        own = _parents(block)
        parents.append(np.where(own >= 0, own + start, NONE))
        groups.append(_groups(block))
        blocks.append(np.full(block.width, number))
        start += block.width
    parent, group, at = (np.concatenate(each) for each in (parents, groups, blocks))
    always = np.array([getattr(block, "together", 1.0) == 1.0 for block in world.blocks])
    implying = (parent >= 0) & always[at]
    return Structure(_directions(world), parent, _depth(parent), _clusters(parent, group, at), at, group, implying)


def _directions(world: World) -> Tensor:
    """Orthogonal where there is room, else random: in fewer dimensions than features none are much further apart."""
    generator = torch.Generator().manual_seed(fixed_seed_of(f"toy directions of {world.name}"))
    rows = torch.randn(world.features, world.dimensions, generator=generator, dtype=torch.float64)
    if world.features <= world.dimensions:
        rows = torch.linalg.qr(rows.T).Q.T
    return torch.nn.functional.normalize(rows, dim=1).float()


def _parents(block: Block) -> Ints:
    if isinstance(block, Pairs):
        return np.stack([np.full(block.count, NONE), 2 * np.arange(block.count)], axis=1).ravel()
    found = np.full(block.width, NONE)
    if isinstance(block, Forest):
        for root in forest(block).roots:
            _enter(root, NONE, found)
    return found


def _enter(node: HierarchyNode, above: int, found: Ints) -> None:
    at = above if node.feature_index is None else node.feature_index
    if node.feature_index is not None:
        found[at] = above
    for child in node.children:
        _enter(child, at, found)


def _groups(block: Block) -> Ints:
    return np.repeat([0, 1], block.each) if isinstance(block, Atoms) else np.full(block.width, NONE)


def _depth(parent: Ints) -> Ints:
    depth, above = np.zeros(len(parent), dtype=np.intp), parent.copy()
    while (above >= 0).any():
        depth += above >= 0
        above = np.where(above >= 0, parent[above], NONE)
    return depth


def _clusters(parent: Ints, group: Ints, block: Ints) -> Ints:
    """A tree by its root, the atoms of a block by the first of them."""
    root = np.arange(len(parent))
    while ((above := parent[root]) >= 0).any():
        root = np.where(above >= 0, above, root)
    first = np.array([np.flatnonzero(block == number)[0] for number in block])
    return np.where(group >= 0, first, root)


@lru_cache(maxsize=4)
def forest(block: Forest) -> Hierarchy:
    """Its trees take the first numbers; features behind them stand alone."""
    config = HierarchyConfig(
        total_root_nodes=block.trees, branching_factor=block.branching, max_depth=block.depth,
        mutually_exclusive_portion=block.exclusive,
    )  # fmt: skip
    return generate_hierarchy(block.features, config, seed=fixed_seed_of(f"toy forest {block.name}"))
