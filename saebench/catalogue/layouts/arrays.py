"""Which arrays a checkpoint may hold, and how their shapes fit together: told by their headers, before any is loaded."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from saebench.catalogue.layouts.fields import brief, unknown
from saebench.catalogue.weights import Array

Sizes = dict[str, int]
"""Of the dimensions `in`, `sae` and `out`."""


@dataclass(frozen=True)
class Arrays:
    """Arrays by name with the dimensions that each has, as `"in sae"`; the encoder comes first."""

    shapes: Mapping[str, str]
    """Of those that the SAE computes with; `"sae|"` is one number per latent, or one for all."""
    harmless: Mapping[str, str]
    """Of those that it does not need."""
    either: Iterable[tuple[str, ...]] = ()
    """Names of which a file has no more than one."""

    def check(self, found: Mapping[str, Array], where: object) -> Sizes:
        """Sizes of the SAE. Raises ValueError with one sentence for an array that is unknown, one too many or misshapen."""
        if strange := [name for name in found if name not in self.known]:
            raise ValueError(unknown("array", strange, where, self.known))
        for names in self.either:
            if len(both := [name for name in names if name in found]) > 1:
                raise ValueError(f"{where} has {both[0]} and {both[1]}, which contradict each other: keep one of them")
        sizes: Sizes = {}
        for name, dimensions in self.known.items():
            if name in found:
                _unify(name, found[name].shape, dimensions, sizes, where)
        return sizes

    @property
    def known(self) -> dict[str, str]:
        return {**self.shapes, **self.harmless}


def _unify(name: str, shape: tuple[int, ...], dimensions: str, sizes: Sizes, where: object) -> None:
    ways = [way.split() for way in dimensions.split("|")]
    fitting = [way for way in ways if len(way) == len(shape)]
    if not fitting or 0 in shape:
        many = " or ".join(NUMBER[len(way)] for way in ways)
        raise ValueError(f"{where}: {name} has shape {brief(shape)}, and should have {many}, none of them empty")
    wanted = [sizes.get(dimension, size) for dimension, size in zip(fitting[0], shape, strict=True)]
    if [*shape] != wanted:
        asked = ", ".join(str(sizes.get(dimension, "any")) for dimension in fitting[0])
        transposed = all(sizes.get(way, size) == size for way, size in zip(fitting[0], reversed(shape), strict=True))
        hint = ": it is transposed" if transposed else ""
        raise ValueError(
            f"{where}: {name} has shape {brief(shape)}, where the encoder's shape asks for ({asked}){hint}"
        )
    sizes.update(zip(fitting[0], shape, strict=True))


NUMBER = ("no dimensions", "one dimension", "two dimensions")


def check_sizes(
    config: Mapping[str, Any], told: Mapping[str, str], sizes: Sizes, where: object, weights: object
) -> None:
    """Hold the sizes that a configuration says against those of the weights; none, or 0, says nothing."""
    for path, dimension in told.items():
        value: Any = config
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value is None or (value == 0 and type(value) is int) or dimension not in sizes:
            continue
        if type(value) is not int or value != sizes[dimension]:
            raise ValueError(f"{where}: {path} is {brief(value)}, and {weights} has {sizes[dimension]}")
