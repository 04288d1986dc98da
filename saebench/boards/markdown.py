"""Names and tables as Markdown that nothing in them can break."""

import re
from collections.abc import Sequence

from tabulate import tabulate

from saebench.record.naming import shown

MOST = 5_000
"""Characters of what stands on a page in one piece."""
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def escaped(text: str) -> str:
    """Write a name so that Markdown and HTML show it as it is, on one line."""
    text = shown(text, MOST).replace("&", "&amp;")
    text = re.sub(r"([\\`*|\[\]~$#])", r"\\\1", text).replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])", r"\\_", text)


def pipe_table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A table of cells that are Markdown already; the first `left` columns are text, the others numbers."""
    sides = ["left"] * left + ["right"] * (len(header) - left)
    return tabulate(rows, header, tablefmt="pipe", disable_numparse=True, colalign=sides)


def fenced(code: str) -> str:
    """A block of code on one line, in a fence that is longer than any in it."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", code)), default=0))
    return f"{fence}\n{' '.join(code.split())}\n{fence}"


def note_mark(number: int) -> str:
    """`¹²`: small, and not to be taken for a rank."""
    return str(number).translate(SUPERSCRIPTS)
