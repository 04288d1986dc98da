"""Per-item values of scores as files: addressed by what they hold, and checked when they are read."""

import hashlib
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saebench.record.atomic import replacing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[np.generic]]

ADDRESS = re.compile(r"[0-9a-f]{24}")
LARGEST = 2**28
"""Bytes that the items of one score may unpack to; those of the organism have 40,000."""
AGAIN = "score that property again with --sae-fresh"
BY_ITEM = ("contribution", "numerator", "denominator")
"""Numbers with one for each item: they are compared and averaged, which one that is not finite would undo."""
OLDER = ("concept", "value")
"""What older items have instead; only listed, so that a concept may be without value."""
CURVES = ("position", "kl", "kl_low", "kl_high", "context_size", "value")
"""Numbers that are drawn, as are those of `AXIS:NAME` over `AXIS`: where they are not finite, there is a gap."""
HUGE = 1e100
"""What is larger is nothing that was measured."""
NAME = "item"
"""What names the items of `BY_ITEM`."""
TEXTS = (NAME, "carrier_concept", "carrier_word", "feature", "subcomponent", "phrases", "class", "told_by")
"""What a reader may ask for that is not numbers."""


class Missing(ValueError):
    """Items that are not there, as in a copy of a scores file alone; others are damaged."""


def write(folder: Path, items: Mapping[str, Any]) -> str:
    """Write the items of a score, and return their address."""
    import numpy as np

    arrays: Arrays = {name: np.asarray(values) for name, values in items.items()}
    if objects := sorted(name for name, array in arrays.items() if array.dtype.hasobject):
        raise ValueError(f"items {', '.join(objects)} hold Python objects; give numbers, booleans or strings")
    address = content_address(arrays)
    with replacing(folder / f"{address}.npz") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    return address


def read(path: Path, needed: Sequence[str] = ()) -> "Arrays":
    """Read the items that are called after their address; those that are `needed` are numbers, as many of each.

    Raises ValueError with one sentence if they are not there, not what their name says, or not fit to be compared.
    """
    arrays = _unpacked(path)
    if content_address(arrays) != path.stem:
        raise ValueError(f"{path} does not hold what its name says; {AGAIN}")
    if wrong := wrong_with(arrays, needed):
        raise ValueError(f"{path}: {wrong}; {AGAIN}")
    return arrays


def content_address(arrays: "Arrays") -> str:
    """Hash names, dtypes, shapes and bytes, rather than a zip file: equal arrays have equal addresses."""
    import numpy as np

    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode() + b"\0")
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:24]


def wrong_with(arrays: "Arrays", needed: Sequence[str] = ()) -> str:
    """What makes arrays unfit to be items, in words; empty where nothing does."""
    by_item, older = ([name for name in names if name in arrays] for names in ((*BY_ITEM, NAME), OLDER))
    return (
        next((said for name, array in arrays.items() if (said := _wrong_array(name, array))), "")
        or next((f"it has no array {name!r}" for name in needed if name not in arrays), "")
        or next(
            (said for name in (*BY_ITEM, *CURVES, *needed) if name in arrays and (said := _no_numbers(arrays, name))),
            "",
        )
        or next((said for name in arrays if ":" in name and (said := _wrong_curve(arrays, name))), "")
        or _differ(arrays, by_item)
        or _differ(arrays, older)
        or _differ(arrays, needed)
    )


def _wrong_array(name: str, array: "NDArray[np.generic]") -> str:
    if array.ndim != 1:
        return f"its array {name!r} has {array.ndim} dimensions, and not one"
    return "" if array.dtype.kind in "biufU" else f"its array {name!r} holds {array.dtype}, and not numbers or text"


def _no_numbers(arrays: "Arrays", name: str) -> str:
    """Curves may have gaps; what is averaged may not."""
    import numpy as np

    if name in TEXTS:
        return ""
    if arrays[name].dtype.kind == "U":
        return f"its array {name!r} holds text, and not numbers"
    drawn = name in CURVES or ":" in name or any(other.startswith(f"{name}:") for other in arrays)
    finite = drawn or (np.abs(arrays[name].astype(np.float64)) <= HUGE).all()
    return "" if finite else f"its array {name!r} holds what is not finite"


def _wrong_curve(arrays: "Arrays", name: str) -> str:
    """`AXIS:NAME` is a curve over `AXIS`."""
    axis = name.partition(":")[0]
    return _no_numbers(arrays, name) or (
        _no_numbers(arrays, axis) or _differ(arrays, [axis, name]) if axis in arrays else ""
    )


def _differ(arrays: "Arrays", names: Sequence[str]) -> str:
    sizes = {name: len(arrays[name]) for name in names}
    if len(set(sizes.values())) < 2:
        return ""
    shortest, longest = (end(sizes, key=sizes.__getitem__) for end in (min, max))
    return f"its array {shortest!r} has {sizes[shortest]} entries, and {longest!r} has {sizes[longest]}"


def _unpacked(path: Path) -> "Arrays":
    import numpy as np

    if not path.is_file():
        raise Missing(f"{path} is missing: restore it, or {AGAIN}")
    try:
        # Opened here: np.load leaves a damaged file open.
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            if sum(member.file_size for member in archive.infolist()) <= LARGEST:
                file.seek(0)
                with np.load(file, allow_pickle=False) as members:
                    return {name: members[name] for name in members.files}
    except Exception:  # a torn zip file raises almost anything: BadZipFile, EOFError, zlib.error, ValueError
        raise ValueError(f"{path} is damaged: delete it and {AGAIN}") from None
    raise ValueError(f"{path} unpacks to more than {LARGEST:,} bytes, which are no items: delete it and {AGAIN}")
