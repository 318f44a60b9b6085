# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one waiter: a predicate, a deadline, an injected clock.

Whoever polls for a state does it here. What waits elsewhere listens (to a watch, to a socket) or paces itself (the
tries of one request, the canary's writes).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from .errors import RecoveryError, StepTimeout

T = TypeVar("T")


@dataclass(frozen=True)
class Waited(Generic[T]):
    """What was waited for, and what it took (seconds)."""

    value: T
    elapsed: float
    attempts: int


def wait_until(
    probe: Callable[[], T | None],
    *,
    seconds: float,
    interval: float = 0.05,
    describe: str = "the condition",
    next_action: str | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Waited[T]:
    """Call `probe` until it gives something truthy; it is called at least once.

    A RecoveryError of the probe counts as "not yet" and is named when the deadline passes. Anything else is a
    defect and goes through. Raises StepTimeout.
    """
    begin = clock()
    attempts = 0
    last: str | None = None
    while True:
        attempts += 1
        try:
            value = probe()
            if value:
                return Waited(value, clock() - begin, attempts)
        except RecoveryError as error:
            last = str(error)
        left = seconds - (clock() - begin)
        if left <= 0:
            raise StepTimeout(
                f"Waited {seconds:g} s for {describe} in vain",
                wanted=describe,
                observed=last,
                next_action=next_action,
                attempts=attempts,
            )
        sleep(min(interval, left))
