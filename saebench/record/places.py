"""Folders that saebench reads and writes."""

import os
import re
from pathlib import Path

from platformdirs import user_cache_path

ORGANISM = "organism"
LIMIT = "SAEBENCH_CACHE_LIMIT"
UNITS = {"MB": 1e6, "GB": 1e9, "TB": 1e12}


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


def cache_limit() -> int | None:
    """Bytes of tensors that the cache may hold, as `SAEBENCH_CACHE_LIMIT` says; None where it is not set or empty.

    Raises ValueError with one sentence for what is no size.
    """
    if not (text := os.environ.get(LIMIT, "").strip()):
        return None
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?([MGT]B)", text.upper())
    if found is None or not (size := int(float(found[1]) * UNITS[found[2]])):
        raise ValueError(f"{LIMIT} is {text[:100]!r}: expected a size such as 500MB, 200GB or 2TB")
    return size
