"""Folders that saebench reads and writes."""

import os
from pathlib import Path

from platformdirs import user_cache_path

ORGANISM = "organism"


def package_dir() -> Path:
    """The folder of the package itself."""
    return Path(__file__).parent.parent


def fixtures_dir() -> Path:
    """The folder with the family files: inside an installed package, else beside it in the repository."""
    package = package_dir()
    # Inside first: in site-packages, a folder `fixtures` beside the package belongs to another distribution.
    return package / "_fixtures" if (package / "_fixtures").is_dir() else package.parent / "fixtures"


def suites_dir() -> Path:
    """The folder with the suites: inside an installed package, else beside it in the repository."""
    package = package_dir()
    return package / "suites" if (package / "suites").is_dir() else package.parent / "suites"


def architectures_file() -> Path:
    """Scores of the zoo's architectures at several sparsities: inside an installed package, else in the repository."""
    inside = package_dir() / "_leaderboards"
    folder = inside if inside.is_dir() else package_dir().parent / "leaderboards"
    return folder / "architectures.jsonl"


def organism_folder() -> Path:
    """Where the embedded model, its tokenizer and its world lie."""
    return fixtures_dir() / ORGANISM


def cache_dir() -> Path:
    """`SAEBENCH_CACHE` where it is set and not empty, else the platform's cache folder."""
    return Path(os.environ.get("SAEBENCH_CACHE") or user_cache_path("saebench")).expanduser()
