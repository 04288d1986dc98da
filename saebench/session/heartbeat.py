"""A sign of life: what a run is busy with, whenever nothing was printed for a while.

On a terminal it stands below the line that waits for its result, and goes away with it; in a log each stage is a line.
"""

import os
import threading
import time
from collections.abc import Callable
from typing import Any

SILENCE = 4.0
"""Seconds without a word after which it speaks."""
TICK = 1.0


class Heartbeat:
    """A thread that writes while no one else does: hooks tell it when something was, or is about to be, printed."""

    def __init__(self, reporter: Any, busy_with: Callable[[], str | None]) -> None:
        self.reporter, self.busy_with = reporter, busy_with
        self._lock, self._over = threading.Lock(), threading.Event()
        self._heard = self._begun = time.monotonic()
        self._drawn, self._said = False, ""
        # While a test runs, pytest has another file in the place of standard output; this is the real one.
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
        self._thread = threading.Thread(target=self._beat, daemon=True, name="saebench heartbeat")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.heard()
        self._over.set()
        self._thread.join()
        self._out.close()

    def heard(self) -> None:
        """Something else speaks now."""
        with self._lock:
            if self._drawn:
                self._write("\x1b[J")  # all that stands behind the cursor
            self._drawn, self._heard = False, time.monotonic()

    def begun(self) -> None:
        """Another test: what it takes is counted from here."""
        self.heard()
        self._begun = self._heard

    def _beat(self) -> None:
        while not self._over.wait(TICK):
            with self._lock:
                if time.monotonic() - self._heard >= SILENCE and (what := self.busy_with()):
                    self._say(what)

    def _say(self, what: str) -> None:
        since = f"{time.monotonic() - self._begun:.0f} s"
        if self.reporter.isatty:
            self._draw(f"  {since}: {what}")
        elif what.partition(",")[0] != self._said:
            self._said, self._heard = what.partition(",")[0], time.monotonic()
            self.reporter.currentfspath = None  # so that pytest begins the test's line again, on a new one
            self._write(f"\n  … {since}: {what}")

    def _draw(self, text: str) -> None:
        """On the next line, and back to where the cursor was."""
        screen = self.reporter._tw
        column = screen.width_of_current_line % screen.fullwidth + 1
        self._write(f"\n\r\x1b[K{text[: screen.fullwidth - 1]}\x1b[1A\x1b[{column}G")
        self._drawn = True

    def _write(self, codes: str) -> None:
        self._out.write(codes)
        self._out.flush()
