"""What goes wrong, as pytest should take it: the end of the run, of one SAE's tests, or of one test."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import pytest

from saebench.record.naming import shown
from saebench.record.score import Unreadable, Unscored

UNREADABLE_SAES = "saebench_unreadable_saes"
"""What the controller found wrong with SAEs before the run, as workers are told it."""


@contextmanager
def usage_errors() -> Iterator[None]:
    """What cannot be found, read or fitted together ends the run with one sentence and exit code 4."""
    try:
        yield
    except (ImportError, OSError, ValueError) as error:
        raise pytest.UsageError(shown(str(error))) from None


@contextmanager
def of_this_sae() -> Iterator[None]:
    """What cannot be read of one SAE fails its tests with one sentence; the run goes on."""
    try:
        yield
    except (ImportError, OSError, ValueError) as error:
        raise Unreadable(shown(str(error))) from None


def without_frames(reason: Unscored | Unreadable) -> Unscored | Unreadable:
    """An exception holds the frames that it was raised in, and pytest keeps the last one: an SAE would live on in them."""
    sys.__dict__.update(dict.fromkeys(("last_type", "last_value", "last_exc", "last_traceback")))
    if isinstance(reason, Unscored):
        return Unscored(reason.reason, broken=reason.broken)
    return Unreadable(str(reason))


def is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def end_run(session: pytest.Session, reason: str) -> NoReturn:
    """End the run with one sentence: where scores cannot be kept, there is no sense in going on."""
    reason = shown(reason)
    if is_worker(session.config):  # one that exits by itself would be taken for one that crashed
        session.shouldstop = reason
        pytest.fail(reason, pytrace=False)
    pytest.exit(reason, returncode=pytest.ExitCode.USAGE_ERROR)


def unreadable_saes(config: pytest.Config) -> dict[str, str]:
    """What the process that started this worker found wrong with SAEs, by their names; nothing elsewhere."""
    found: dict[str, str] = getattr(config, "workerinput", {}).get(UNREADABLE_SAES, {})
    return found
