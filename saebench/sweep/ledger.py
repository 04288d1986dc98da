"""Which SAEs are done: all that was asked of them has been measured, and stands in the joined file."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from saebench.record.atomic import write_through


@dataclass
class Ledger:
    """A line for each SAE. What cannot be read is as if it were not there: an SAE is then asked again, and finds its scores."""

    path: Path
    known: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Fingerprint, and how many scores it had, by name of the SAE."""

    def read(self) -> "Ledger":
        try:
            text = self.path.read_text("utf-8", errors="replace")
        except OSError:
            return self
        for line in text.splitlines():
            try:
                sae, fingerprint, scores = json.loads(line)
                self.known[str(sae)] = str(fingerprint), int(scores)
            except (ValueError, TypeError):
                continue
        return self

    def done(self, sae: str, fingerprint: str | None, scores: Mapping[str, int]) -> bool:
        """Whether this very SAE was measured, and its scores still stand in the file."""
        if fingerprint is None or sae not in self.known:
            return False
        was, count = self.known[sae]
        return was == fingerprint and scores.get(sae, 0) >= count > 0

    def add(self, rows: Iterable[tuple[str, str, int]]) -> None:
        """Write down what is done, after its scores were joined."""
        text = "".join(json.dumps(row) + "\n" for row in rows)
        if text:
            with self.path.open("ab") as file:
                write_through(file, text.encode())
