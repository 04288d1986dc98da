"""One run of suites in this process, watched by a plugin, whose scores nobody keeps."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest


def score(suites: Sequence[str], saes: Sequence[str], budget: str, plugin: object) -> None:
    """Run suites by their names, or all where none is named, on SAEs as `--sae` names them."""
    files = [f"suites/test_{suite}.py" for suite in suites] or ["suites/"]
    named = [argument for sae in saes for argument in ("--sae", sae)]
    with tempfile.TemporaryDirectory() as folder:
        scores = ["--sae-scores", str(Path(folder) / "scores.jsonl"), "--sae-budget", budget]
        pytest.main([*files, *named, *scores, "-q", "-p", "no:cacheprovider"], plugins=[plugin])
