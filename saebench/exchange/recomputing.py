"""Scores computed once more, by pytest in a process of its own, with nothing taken from earlier runs."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from saebench.exchange.sampling import key_of
from saebench.exchange.verification import Recomputed, judge
from saebench.hub.needs import Say
from saebench.record.naming import shown
from saebench.record.score import Score
from saebench.record.store import Store


@dataclass(frozen=True)
class Recomputing:
    """How to run the suites."""

    tests: Mapping[str, Sequence[str]]
    """Property to node ids of its tests."""
    texts: str | None = None
    """What `--sae-corpus` says."""
    workers: str | None = None
    """What `-n` says."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What SAEs are called here, where that is not what the scores call them."""

    def verdicts(self, scores: Sequence[Score], say: Say) -> list[Recomputed]:
        """Recompute scores, those of one SAE in one run."""
        found = []
        for (sae, _, _), group in groupby(scores, key=key_of):
            rows = list(group)
            say(f"recomputing {len(rows)} scores of {shown(sae)}")
            found += self._of_one_sae(rows)
        return found

    def _of_one_sae(self, scores: Sequence[Score]) -> list[Recomputed]:
        with tempfile.TemporaryDirectory(prefix="saebench-") as folder:
            path = Path(folder) / "scores.jsonl"
            done = subprocess.run(
                self.command(scores, path), capture_output=True, text=True, errors="replace", check=False
            )
            here = Store(path).read()
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        # pytest's 1 says that a test failed: an SAE that is broken has scores that say so.
        why = "no test gave it" if done.returncode in (0, 1) else shown((said or ["pytest said nothing"])[-1])
        return [_verdict(score, here, why) for score in scores]

    def command(self, scores: Sequence[Score], path: Path) -> list[str]:
        """The run that gives some scores of one SAE."""
        first = scores[0]
        tests = dict.fromkeys(test for score in scores for test in self.tests[score.property])
        options = {
            "sae": self.names.get(first.sae, first.sae), "sae-model": first.model, "sae-budget": first.budget, "sae-scores": path,
            "sae-corpus": self.texts, "sae-context": _context(first.corpus),
        }  # fmt: skip
        # With an equals sign, a name cannot pass for an option.
        given = [f"--{name}={value}" for name, value in options.items() if value is not None]
        workers = [] if self.workers is None else ["-n", self.workers]
        return [sys.executable, "-m", "pytest", *tests, *given, "--sae-fresh", "-p", "no:cacheprovider", *workers]


def _context(corpus: str) -> str | None:
    """Tokens per document, as the name of a corpus says."""
    found = re.search(r"/\d+x(\d+)", corpus)
    return found and found[1]


def _verdict(score: Score, here: Sequence[Score], why: str) -> Recomputed:
    for other in here:
        if (other.property, other.params) == (score.property, score.params):
            return judge(score, other)
    return Recomputed(score, None, "cannot be recomputed", why)
