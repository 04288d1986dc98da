"""Less of everything at `smoke`: for tests in whose process it is patched, and with `-p smaller` for runs of their own."""

import os
from dataclasses import replace
from pathlib import Path

from saebench.record.budget import BUDGETS, Size

CONTEXT = 128
BUDGET = replace(
    BUDGETS["smoke"], documents=10, words=1400, game=Size(16, 3, 6), meta_steps=40, labelled=60, label_sets=8, pairs=8, mask_steps=2
)  # fmt: skip


def environment() -> dict[str, str]:
    """With which a process finds this plugin."""
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def pytest_configure() -> None:
    from saebench.run import models

    BUDGETS["smoke"], models.CONTEXT = BUDGET, CONTEXT
