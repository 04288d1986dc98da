"""JSON that a stranger wrote: a table, of a sane size, in which no name comes twice."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from saebench.record.naming import shown

T = TypeVar("T")
LARGEST = 10_000_000
"""Bytes of a configuration."""


def read_json(path: Path) -> dict[str, Any]:
    """Raises ValueError with one sentence that names the file if it is no table of JSON."""
    if (size := path.stat().st_size) > LARGEST:
        raise ValueError(f"{path} has {size} bytes, which no configuration has")
    try:
        content = json.loads(path.read_bytes(), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    return typed({"content": content}, "content", dict, path) or {}


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two values for one name Python takes the last, other readers the first."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{shown(repr(twice), 60)} comes twice")
    return found


def typed(table: Mapping[str, Any], key: str, kind: type[T], where: Path | str) -> T | None:
    value = table.get(key)
    if value is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        raise ValueError(f"{where}: {key} is {shown(repr(value), 60)}, and should be {kind.__name__}")
    return value
