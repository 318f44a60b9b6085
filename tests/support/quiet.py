# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits until the machine is quiet: right after its start the lab itself takes most of two cores for a while."""

from __future__ import annotations

import time
from pathlib import Path

BUSY = 0.25
SECONDS = 90.0
LOOK_SECONDS = 2.0


def wait_until_quiet() -> None:
    """Wait until no more than a quarter of the processors was busy for two seconds, and say so where it never is."""
    deadline = time.monotonic() + SECONDS
    while (busy := busy_share(LOOK_SECONDS)) > BUSY:
        if time.monotonic() > deadline:
            print(f"  the machine is {busy:.0%} busy beside the benchmark")
            return


def busy_share(seconds: float) -> float:
    """Give which part of all processors was busy for so long."""
    before = processor_times()
    time.sleep(seconds)
    spent = [now - then for now, then in zip(processor_times(), before, strict=True)]
    return 1 - (spent[3] + spent[4]) / max(1, sum(spent))


def processor_times() -> list[int]:
    """Read the first line of /proc/stat: user, nice, system, idle, iowait, …, in ticks since the start."""
    return [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
