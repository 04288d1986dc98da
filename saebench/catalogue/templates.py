"""Templates of a family file: names with placeholders, and facts that are told by what a placeholder stands for."""

import itertools
import math
import re
from collections.abc import Mapping
from typing import Any

PLACEHOLDER = re.compile(r"\{(\w+(?:\.\.\.)?)\}")
PLACEHOLDERS = 4
UNITS = {"": 1, "k": 1024, "m": 1024 * 1024}
CLOSE = 0.02


def filled(template: str, values: Mapping[str, Any], where: str) -> str:
    """A template with its placeholders filled in; nothing of a value but its text can be reached."""

    def value_of(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise ValueError(f"{where}: {template!r} has a placeholder {match[0]}, and there are {', '.join(values)}")
        return str(values[match[1]])

    return PLACEHOLDER.sub(value_of, template)


def pattern(template: str) -> re.Pattern[str]:
    """A regular expression; a placeholder that comes a second time stands for the same."""
    parts = PLACEHOLDER.split(template)
    if len(parts) > 2 * PLACEHOLDERS + 1:
        raise ValueError(f"{template!r:.80} has more than {PLACEHOLDERS} placeholders")
    seen: set[str] = set()
    found = ""
    for text, name in itertools.zip_longest(parts[::2], parts[1::2]):
        found += re.escape(text)
        if name is not None:
            key, long = name.removesuffix("..."), name.endswith("...")
            found += f"(?P={key})" if key in seen else f"(?P<{key}>{'[^/]+' if long else '[^/_-]+'})"
            seen.add(key)
    return re.compile(found)


def fact_of(value: Any, values: Mapping[str, Any], kind: type, where: str) -> Any:
    """A fact for one SAE: looked up by the value of a placeholder, filled in, and turned into a number."""
    while isinstance(value, dict):
        ((key, table),) = value.items()
        value = table.get(values.get(key))
    if isinstance(value, str):
        value = filled(value, values, where)
    return number(value, where) if kind is int and isinstance(value, str) else value


def check_fact(value: Any, kind: type, where: str) -> None:
    """A value of its kind, a template for it, or a table by the value of one placeholder."""
    if isinstance(value, dict):
        if len(value) != 1 or not isinstance(table := next(iter(value.values())), dict):
            raise ValueError(f"{where} is {value!r:.80}, and should be a table by the value of one placeholder")
        for inner in table.values():
            check_fact(inner, kind, where)
    elif not isinstance(value, kind if kind is bool else (kind, str)) or isinstance(value, bool) != (kind is bool):
        raise ValueError(f"{where} is {value!r:.80}, and should be {kind.__name__}")


def number(text: str, where: str) -> int:
    """16384 of `16384`, `16k` or `2pow14`; 65536 of `65k`, as widths that are powers of two are called."""
    if match := re.fullmatch(r"2pow(\d{1,2})", text):
        return int(2 ** int(match[1]))
    if match := re.fullmatch(r"(\d{1,12})([km]?)", text.lower()):
        rough = int(match[1]) * 1000
        power = 2 ** round(math.log2(max(rough, 1)))
        return power if match[2] == "k" and abs(rough / power - 1) < CLOSE else int(match[1]) * UNITS[match[2]]
    raise ValueError(f"{where} is {text!r}, and should be a number")
