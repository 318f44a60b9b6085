# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person sees while the lab works: one line a server as it becomes ready, and the time it took."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

QUIET_SECONDS = 15.0


class Screen:
    """Lines for people on standard error; on a terminal the last one may be a live one."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._lock = threading.Lock()
        self._live = sys.stderr.isatty()
        self._open = False
        self._last = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since the command began."""
        return time.monotonic() - self._begin

    def say(self, text: str) -> None:
        """Print a line for good."""
        with self._lock:
            self._clear()
            print(text, file=sys.stderr, flush=True)

    def progress(self, text: str) -> None:
        """Show how far a long step is: in place on a terminal, now and then elsewhere."""
        with self._lock:
            if self._live:
                print(f"\r  {text}\x1b[K", end="", file=sys.stderr, flush=True)
                self._open = True
            elif time.monotonic() - self._last >= QUIET_SECONDS or not self._last:
                self._last = time.monotonic()
                print(f"  {text}", file=sys.stderr, flush=True)

    @contextmanager
    def step(self, what: str, result: str = "") -> Iterator[None]:
        """Print what became ready, and the seconds that it took."""
        begin = time.monotonic()
        yield
        self.say(f"  {what:<34}{result:<38}{time.monotonic() - begin:5.1f} s")

    def _clear(self) -> None:
        if self._open:
            print("\r\x1b[K", end="", file=sys.stderr)
            self._open = False
