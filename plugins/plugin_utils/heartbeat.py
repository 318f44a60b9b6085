# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sign of life of a run that holds its platform's lease.

A thread of the companion process, where the callback `timeline` runs one, and of a worker while its step works, since
other callbacks (AWX has its own) know nothing of a lease. It stops with its process when that dies or is frozen.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils import lease_homes
from ansible_collections.platform.recovery.plugins.module_utils.lease import BEATS, Held, HomeSilent, LeaseLost

# For each wait at the end: whoever ends a run has two seconds of patience. In a slow home the lease expires instead.
RELEASE_SECONDS = 0.5


class Heartbeat:
    """Renews a lease until it is stopped, or until the lease is somebody else's. `lives` tells whose life it shows."""

    def __init__(self, lives: Callable[[], bool] = lambda: True) -> None:
        self._lives = lives
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def follow(self, result: Mapping[str, Any]) -> None:
        """Begin to beat for the lease that a step took, or do nothing where it took none."""
        held = lease_homes.reopened(result)
        if held is None or self._thread is not None:
            return
        interval = held.seconds / BEATS
        self._thread = threading.Thread(target=self._beat, args=(held, interval), name="recovery-lease", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop, and let the lease be."""
        if self._thread:
            self._stop.set()
            self._thread.join(timeout=RELEASE_SECONDS)

    def _beat(self, held: Held, interval: float) -> None:
        try:
            while not self._stop.wait(interval):
                if not self._lives():
                    continue
                try:
                    held.confirm(beat=True)
                except HomeSilent:
                    continue
                except LeaseLost:
                    # Given back, or taken over: the next change is refused by its own look.
                    return
                except Exception:
                    continue
        finally:
            held.close()


def give_back(result: Mapping[str, Any]) -> bool:
    """Give back the lease that a step took. Tells whether it still was ours."""
    # Whatever goes wrong here, the lease expires by itself, and the end of a run must not fail because of it.
    with contextlib.suppress(Exception):
        held = lease_homes.reopened(result, seconds=RELEASE_SECONDS)
        if held:
            try:
                return held.release()
            finally:
                held.close()
    return False
