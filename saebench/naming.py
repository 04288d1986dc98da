"""How names are sorted and guessed."""

import difflib
import re
from collections.abc import Iterable


def natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which `k16` comes before `k128`."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def nearest(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the most similar known name, or an empty string."""
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean '{matches[0]}'?" if matches else ""
