"""Drawn files that say what they were drawn from, so that they can be checked without being drawn again.

Fonts and libraries move a picture by a pixel; what it shows is the same.
"""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SEAL = re.compile(r"(.*)<!-- drawn from sha256 ([0-9a-f]{64}), text sha256 ([0-9a-f]{64}) -->\n", re.DOTALL)


@dataclass(frozen=True)
class Sealed:
    """An SVG or HTML file to be: what it shows, and how it is drawn."""

    source: Any
    """JSON of all that the file shows."""
    draw: Callable[[], str]

    def text(self) -> str:
        """The drawn file, with the digests of its source and of itself in a comment at its end."""
        body = self.draw().rstrip("\n") + "\n"
        return f"{body}<!-- drawn from sha256 {digest(self.source)}, text sha256 {_sha256(body)} -->\n"

    def matches(self, text: str) -> bool:
        """Whether a file was drawn from this source, and was not edited since."""
        found = SEAL.fullmatch(text)
        return found is not None and found.groups()[1:] == (digest(self.source), _sha256(found[1]))


def digest(source: Any) -> str:
    """Hash of JSON, whatever the order of its keys."""
    return _sha256(json.dumps(source, sort_keys=True, allow_nan=False))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
