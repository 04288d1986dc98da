"""The toy worlds by name: `fixtures/toy/*.toml`, read without anything heavy."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from saebench.record.naming import nearest
from saebench.record.places import fixtures_dir
from saebench.record.plain_text import read_toml

PREFIX = "toy:"
"""What the names of worlds have in front where a language model's name could stand as well."""
HOOK = "blocks.0.hook_resid_post"
"""Where SAEs of a world read: there is one place, named as a place in a model is."""


@dataclass(frozen=True)
class Forest:
    """Features of which some stand in trees, correlated; a child is only on where its parent is.

    How often roots, and features that stand alone, are on follows Zipf's law.
    """

    kind: ClassVar[str] = "forest"
    name: str = "forest"
    features: int = 2048
    trees: int = 14
    branching: int = 4
    depth: int = 3
    exclusive: float = 0.5
    """Share of parents of which only one child is on at a time."""
    rank: int = 32
    correlation: float = 0.1
    most: float = 0.25
    """How often the most frequent feature is on, and the rarest."""
    least: float = 0.002
    rarest_root: float = 0.05
    child: tuple[float, float] = (0.25, 0.5)
    """How often a child is on where its parent is: between these."""
    spread: float = 0.2
    """Standard deviation of the logarithm of magnitudes, whose median is 1."""

    @property
    def width(self) -> int:
        return self.features


@dataclass(frozen=True)
class Pairs:
    """Pairs of a parent and a child, which are on together as often as planted."""

    kind: ClassVar[str] = "pairs"
    name: str
    count: int = 5
    parent: float = 0.25
    """How often the parent is on, and the child."""
    child: float = 0.05
    together: float = 1.0
    """How often the parent is on where the child is; as often as ever is independence."""
    noise: float = 0.0
    """Standard deviation of magnitudes, whose mean is 1."""

    @property
    def width(self) -> int:
        return 2 * self.count


@dataclass(frozen=True)
class Atoms:
    """Two groups of atoms, of each of which at most one is on at a time."""

    kind: ClassVar[str] = "atoms"
    name: str
    each: int = 4
    group: float = 0.25
    """How often a group is on."""
    together: float = 0.0
    """Share of samples in which both groups are on or off as one; in the others, each for itself."""
    matched: bool = False
    """Whether an atom of one group comes with its own of the other, and with no other one."""

    @property
    def width(self) -> int:
        return 2 * self.each


@dataclass(frozen=True)
class Independent:
    """Features that have nothing to do with each other."""

    kind: ClassVar[str] = "independent"
    name: str = "independent"
    features: int = 128
    most: float = 0.1
    """How often the most frequent feature is on, and the rarest."""
    least: float = 0.01
    spread: float = 0.2
    """Standard deviation of the logarithm of magnitudes, whose median is 1."""

    @property
    def width(self) -> int:
        return self.features


Block = Forest | Pairs | Atoms | Independent
KINDS: dict[str, type[Block]] = {made.kind: made for made in (Forest, Pairs, Atoms, Independent)}


@dataclass(frozen=True)
class World:
    """What there is to know of a world before any of it is generated."""

    name: str
    about: str
    version: int
    dimensions: int
    blocks: tuple[Block, ...]
    positions: int = 1
    """Samples of a document, one at each position."""
    curve: float = 0.0
    """Norm of what is added to a sample for its position."""

    @property
    def features(self) -> int:
        return sum(block.width for block in self.blocks)

    @property
    def digest(self) -> str:
        """sha256 over all that its samples depend on."""
        said = [self.name, self.version, self.dimensions, self.positions, self.curve]
        told = [*said, *([block.kind, vars(block)] for block in self.blocks)]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def is_toy(model: str) -> bool:
    """Whether a model's name is that of a world."""
    return model.startswith(PREFIX)


def has(world: World, *, pairs: str | None = None, groups: str | None = None) -> bool:
    """Whether a world has pairs, or groups of atoms, of the names that are asked for."""
    named = {kind: {block.name for block in world.blocks if isinstance(block, kind)} for kind in (Pairs, Atoms)}
    return pairs in (None, *named[Pairs]) and groups in (None, *named[Atoms])


def worlds(folder: Path | None = None) -> dict[str, World]:
    """All worlds by name."""
    paths = sorted((folder or fixtures_dir() / "toy").glob("*.toml"))
    return {path.stem: _read(path, path.stat().st_mtime_ns) for path in paths}


def world_of(model: str) -> World:
    """The world that `toy:NAME` stands for. Raises ValueError with one sentence where there is none."""
    name, known = model.removeprefix(PREFIX), worlds()
    if name not in known:
        raise ValueError(f"{model}: no such toy world.{nearest(name, known)} Known: {', '.join(known)}")
    return known[name]


@cache
def _read(path: Path, changed: int) -> World:
    """Read once as long as it stays as it is. Raises ValueError with one sentence where a file is no world."""
    table = read_toml(path)
    try:
        blocks = tuple(_block(dict(block)) for block in table.pop("block"))
        return World(name=path.stem, blocks=blocks, **table)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no toy world: {error}") from None


def _block(table: dict[str, Any]) -> Block:
    kind: Callable[..., Block] = KINDS[name := str(table.pop("kind"))]
    if unknown := set(table) - {field.name for field in fields(KINDS[name])}:
        raise ValueError(f"a block of kind {name} has no {', '.join(sorted(unknown))}")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in table.items()})
