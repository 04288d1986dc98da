"""What a suite says about a property beside its test: direction, unit, version, tolerance, floor and ceiling."""

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from saebench.record.naming import nearest
from saebench.record.score import Better


@dataclass(frozen=True)
class Property:
    """The validated form of `@pytest.mark.score(name, version=…, better=…, unit=…, …)`."""

    name: str
    """Dotted: `family.property`."""
    version: int
    """Raised whenever a change of code or data moves the scores; scores of two versions are not compared."""
    better: Better
    unit: str
    tolerance: float = 0.0
    """How much worse than a baseline is allowed, beyond noise."""
    floor: float | None = None
    """What a useless SAE gets."""
    ceiling: float | None = None
    """What a perfect SAE gets."""
    machine: bool = False
    """The score holds for the machine that it was measured on, which then is part of its identity."""
    headline: bool = False
    """It stands for what its suite asks: it has a column of the first table of a board."""

    def __post_init__(self) -> None:
        if (
            not isinstance(self.name, str)
            or self.name.count(".") != 1
            or not all(part.isidentifier() for part in self.name.split("."))
        ):
            raise ValueError(f"property name {self.name!r} is not of the form family.property")
        if self.better not in get_args(Better):
            raise ValueError(f"{self.name}: better={self.better!r} is none of {', '.join(get_args(Better))}")
        if self.version < 1 or not 0 <= self.tolerance < math.inf:
            raise ValueError(f"{self.name}: version starts at 1 and tolerance at 0")


def from_marker(args: tuple[Any, ...], kwargs: Mapping[str, Any], where: str) -> Property:
    """Build a Property from a marker's arguments.

    Raises ValueError with one sentence that names the test and the nearest known keyword.
    """
    known = list(inspect.signature(Property).parameters)
    for key in kwargs:
        if key not in known:
            raise ValueError(
                f"{where}: mark.score has no keyword {key!r}.{nearest(key, known)} Known: {', '.join(known)}"
            )
    try:
        return Property(*args, **kwargs)
    except TypeError as error:
        raise ValueError(f"{where}: mark.score({', '.join(known)}): {error}") from None
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
