# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What memory a process and all that it started hold, each page that they share counted once."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from recovery_lab.pods import resident_kib
from tests.support.killer import below


@dataclass(frozen=True)
class Sample:
    """How much was held so long after the begin."""

    seconds: float
    mib: float


class Memory:
    """Watches a tree of processes from another thread until it is told to end."""

    def __init__(self, pid: int, every_seconds: float = 0.1) -> None:
        self.samples: list[Sample] = []
        self._pid = pid
        self._every = every_seconds
        self._begin = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> list[Sample]:
        """End, and give what was seen."""
        self._over.set()
        self._thread.join()
        return self.samples

    def _watch(self) -> None:
        while not self._over.wait(self._every):
            held = sum(resident_kib(pid) for pid in below(self._pid)) / 1024
            self.samples.append(Sample(time.monotonic() - self._begin, held))
