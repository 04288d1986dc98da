"""Text files that users write, whatever editor they came from: UTF-8, with or without a byte order mark."""

import codecs
import tomllib
from pathlib import Path
from typing import Any

OTHERS = {"UTF-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE), "UTF-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)}
"""What files in other encodings begin with; the mark of UTF-32 begins with that of UTF-16."""


def read_text(path: Path) -> str:
    """The text without the byte order mark. Raises ValueError with one sentence where it is no UTF-8."""
    with path.open("rb") as file:
        start = file.read(4)
    for name, marks in OTHERS.items():
        if start.startswith(marks):
            raise ValueError(f"{path}: not UTF-8 but {name}: save it as UTF-8")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8, at byte {error.start}: save it as UTF-8") from None


def read_toml(path: Path) -> dict[str, Any]:
    """Raises ValueError with one sentence where it is no TOML."""
    text = read_text(path)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not TOML: {str(error).splitlines()[0]}") from None
