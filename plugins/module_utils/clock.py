# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wall clock stamps: RFC 3339, UTC, milliseconds. Durations belong to `time.monotonic` within one process."""

from __future__ import annotations

import time
from datetime import datetime, timezone


def stamp(epoch: float) -> str:
    """Format seconds since the epoch, e.g. ``2026-11-23T10:30:00.123Z``."""
    moment = datetime.fromtimestamp(epoch, tz=timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def utc_now() -> str:
    """Give the present moment as a stamp."""
    return stamp(time.time())


def parse(text: str) -> float:
    """Read a stamp (any RFC 3339 offset; a missing one means UTC) into seconds since the epoch.

    Raises ValueError for anything else.
    """
    moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00").replace("z", "+00:00"))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return moment.timestamp()


def elapsed() -> float:
    """Give seconds that also run while the machine sleeps: the lease of a closed laptop expires like any other."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)
