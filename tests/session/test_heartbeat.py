"""A sign of life: on a terminal below the line that waits, in a log one line per stage."""

import os
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from saebench.session import heartbeat
from saebench.session.heartbeat import Heartbeat


@pytest.fixture
def out(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What is written to standard output, whatever pytest has put in its place."""
    there, end = os.pipe()
    os.set_blocking(there, False)
    monkeypatch.setattr(heartbeat, "SILENCE", 0.05)
    monkeypatch.setattr(heartbeat, "TICK", 0.01)
    monkeypatch.setattr(heartbeat.os, "dup", lambda _: end)

    def read() -> str:
        time.sleep(0.3)
        try:
            return os.read(there, 65536).decode()
        except BlockingIOError:
            return ""

    yield read
    os.close(there)


def reporter(*, terminal: bool) -> Any:
    screen = SimpleNamespace(width_of_current_line=12, fullwidth=40)
    return SimpleNamespace(isatty=terminal, _tw=screen, currentfspath="test_x")


def test_on_a_terminal_it_stands_on_the_next_line_and_goes_away(out: Any) -> None:
    busy = ["reading words, 25%"]
    beat = Heartbeat(reporter(terminal=True), lambda: busy[0])
    beat.start()
    assert "\n\r\x1b[K  0 s: reading words, 25%\x1b[1A\x1b[13G" in out()
    busy[0] = "x" * 100
    assert "\r\x1b[K  0 s: " + "x" * 32 + "\x1b[1A" in out()
    beat.heard()
    beat.stop()
    assert "\x1b[J" in out()


def test_in_a_log_a_stage_is_one_line_and_the_test_begins_its_own_again(out: Any) -> None:
    busy, page = ["reading, 1%"], reporter(terminal=False)
    beat = Heartbeat(page, lambda: busy[0])
    beat.start()
    assert out().endswith(" s: reading, 1%")
    assert page.currentfspath is None
    busy[0] = "reading, 90%"
    assert out() == ""
    busy[0] = "fitting"
    assert out().endswith(" s: fitting")
    beat.stop()


def test_where_others_speak_or_nothing_takes_long_it_is_silent(out: Any) -> None:
    busy: list[str | None] = [None]
    beat = Heartbeat(reporter(terminal=True), lambda: busy[0])
    beat.start()
    assert out() == ""
    busy[0] = "fitting"
    for _ in range(20):
        beat.begun()
        time.sleep(0.02)
    beat.stop()
    assert "fitting" not in out()
