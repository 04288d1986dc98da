"""What is measured of each SAE: suites and options of the pytest run that a user would type."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from saebench.catalogue.spec import SAESpec
from saebench.hub.files import here
from saebench.record.places import suites_dir
from saebench.record.version import __version__

PASSED = {
    "budget": "NAME", "seeds": "N", "model": "NAME", "corpus": "TEXTS", "labels": "TEXTS", "context": "TOKENS", "cloze": "TASK",
    "phrases": "FILE", "judge": "NAME", "judge-budget": "N", "device": "DEVICE", "dtype": "NAME",
}  # fmt: skip
"""Options of pytest that are passed on as they are, without their `--sae-`."""
HOW = ("judge-budget", "device")
"""Of these, those that say how something is measured, and not what."""


@dataclass(frozen=True)
class Asked:
    """Suites and options, the same for all SAEs of a sweep."""

    suites: tuple[str, ...] = ()
    """Files and folders as pytest takes them; none for all suites."""
    options: tuple[tuple[str, str], ...] = ()
    """Names in `PASSED`, and values."""

    def option(self, name: str) -> str | None:
        return dict(self.options).get(name)

    def command(self, python: str, saes: Iterable[str], scores: Path) -> list[str]:
        """The run of some SAEs; where all suites lie is for the machine to say that it is run on."""
        options = [word for name, value in self.options for word in (f"--sae-{name}", value)]
        chosen = [word for sae in saes for word in ("--sae", sae)]
        where = ["--sae-scores", str(scores), "-p", "no:cacheprovider", "--color", "no"]
        return [python, "-m", "pytest", *self.places(), *chosen, *options, *where]

    def places(self) -> list[str]:
        return list(self.suites) or [str(suites_dir())]

    def key(self) -> str:
        """Of what is measured: another suite, another question in it, or another option, is another measurement."""
        said = [[name, value] for name, value in self.options if name not in HOW]
        texts = [path.read_text("utf-8") for place in self.places() for path in _sources(place)]
        return hashlib.sha256(json.dumps([__version__, list(self.suites), said, texts]).encode()).hexdigest()[:16]


def _sources(place: str) -> list[Path]:
    path = Path(place.partition("::")[0])
    return sorted(path.rglob("test_*.py")) if path.is_dir() else [path] if path.is_file() else []


def fingerprint(key: str, spec: SAESpec) -> str | None:
    """What tells whether this very SAE was measured; None where only loading it can tell."""
    own = spec.own
    if own.loader != "files":
        return None
    try:
        files = [] if own.repo else [(path.name, *_stamp(path)) for path in here(own)]
    except (OSError, ValueError):
        return None
    return hashlib.sha256(json.dumps([key, _facts(spec), _facts(own), files]).encode()).hexdigest()[:16]


def _stamp(path: Path) -> tuple[int, int]:
    """Its size and when it was changed: an SAE on this machine may be trained anew under its name."""
    known = path.stat()
    return known.st_size, known.st_mtime_ns


def _facts(spec: SAESpec) -> list[tuple[str, str]]:
    return [(field.name, repr(getattr(spec, field.name))) for field in fields(spec) if field.name != "origin"]


def given(asked: Sequence[tuple[str, str | None]]) -> tuple[tuple[str, str], ...]:
    """Those that were given."""
    return tuple((name, value) for name, value in asked if value is not None)
