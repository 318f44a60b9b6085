# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait for a condition with a deadline, and say at the end what was last seen."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from .errors import LabError

T = TypeVar("T")


class NotYet(Exception):
    """A probe's answer "not yet", with what it saw."""


def until(
    probe: Callable[[], T],
    *,
    seconds: float,
    what: str,
    interval: float = 0.05,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Call `probe` until it returns without NotYet or OSError; LabError with the last thing seen after `seconds`."""
    deadline = clock() + seconds
    while True:
        try:
            return probe()
        except (NotYet, OSError) as error:
            seen = str(error) or type(error).__name__
        if clock() >= deadline:
            raise LabError(f"Waited {seconds:g} s for {what} in vain. Last seen: {seen}")
        sleep(interval)
