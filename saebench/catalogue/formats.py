"""Which format an SAE has, by the files that are there."""

from collections.abc import Callable
from pathlib import Path

from saebench.catalogue.layouts import FORMATS
from saebench.catalogue.layouts.format import SUFFIXES

UNSUPPORTED = {
    "temporal": "it reads whole contexts, and cannot be told about one token at a time",
    "mntss_clt_layer_transcoder": "a cross-layer transcoder writes to all later layers, which is not evaluated here",
}
FOLDERS = sorted((name for name, known in FORMATS.items() if known.tried), key=lambda name: FORMATS[name].tried)
"""What a folder may turn out to be, in the order of trying."""


def detect(path: str, there: Callable[[str], bool]) -> str | None:
    """The format of an SAE by the files that are there; `path` is its place below what `there` looks into."""
    if path.endswith(SUFFIXES):
        return "arrays" if there(path) else None
    return next((name for name in FOLDERS if all(map(there, FORMATS[name].required(path)))), None)


def detect_folder(folder: Path) -> str | None:
    """The format of a local folder or file."""
    return detect(folder.name, lambda file: (folder.parent / file).is_file())
