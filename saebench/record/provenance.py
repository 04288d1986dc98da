"""What a score was measured with: machine, versions, commit."""

import os
import platform
import subprocess
import time
from functools import cache
from importlib import metadata
from typing import Any

from saebench.record.places import package_dir

RECORDED = ("torch", "sae-lens", "transformer-lens", "transformers", "numpy", "scipy")


@cache
def provenance() -> tuple[str, bool]:
    """Commit of the saebench that runs, and whether it was changed since; nothing outside a checkout."""
    root = package_dir().parent
    if not (root / ".git").exists():
        return "", False

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", root, *arguments], capture_output=True, text=True, check=False
        ).stdout.strip()

    return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))


@cache
def versions() -> dict[str, str]:
    """Of Python, and of the libraries that move numbers."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in RECORDED}}


def environment() -> dict[str, Any]:
    """What stands in a score about the machine, and when it was made."""
    commit, dirty = provenance()
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(float(os.environ.get("SOURCE_DATE_EPOCH", time.time()))))
    return {"versions": versions(), "commit": commit, "dirty": dirty, "created": created}
