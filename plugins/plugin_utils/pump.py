# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies the journal to its sink as it grows, so that hardly any change has to wait for that.

A thread of the companion process, as the lease's heartbeat is one: it shows in the sink that this controller lives,
and stops with it. Without it each change copies by itself what is missing.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from ansible_collections.platform.recovery.plugins.module_utils import sink
from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput, PreconditionFailed
from ansible_collections.platform.recovery.plugins.module_utils.run import Run, life

LOOK_SECONDS = 0.05
# Whoever ends a run has two seconds of patience; what is missing then is copied by who ends it.
END_SECONDS = 0.5


def warm(url: str) -> None:
    """Import the client before Ansible forks for its tasks: each would import it again, which takes a second."""
    address = sink.Address.parse(url)
    if address:
        with contextlib.suppress(BadInput, sink.SinkDown):
            sink.open_store(address)


class Pump:
    """Copies one run's journal until it is ended, or until the run is another controller's.

    `lives` tells whose life it shows.
    """

    def __init__(self, lives: Callable[[], bool] = lambda: True) -> None:
        self._lives = lives
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def follow(self, run: Run) -> None:
        """Begin to copy, where the run has a sink beside its folder."""
        mirror = sink.Mirror.of(run.folder, run.journal)
        if mirror is None or self._thread is not None:
            return
        self._thread = threading.Thread(target=self._copy, args=(mirror,), name="recovery-sink", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop."""
        self._stop.set()
        if self._thread:
            self._thread.join(timeout=END_SECONDS)

    def _copy(self, mirror: sink.Mirror) -> None:
        holder = life(mirror.folder.name)
        beat_at = time.monotonic() + sink.BEAT_SECONDS
        while not self._stop.wait(LOOK_SECONDS):
            try:
                if mirror.standing.closed:
                    return
                mirror.attempt()
                if time.monotonic() >= beat_at and self._lives() and mirror.standing.down_since is None:
                    beat_at = time.monotonic() + sink.BEAT_SECONDS
                    mirror.beat(holder)
            except PreconditionFailed:
                return
            except Exception:
                # Never the end of copying: what went wrong is tried again, and what is behind is seen by every change.
                continue
