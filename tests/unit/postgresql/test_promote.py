# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A standby that is slow to promote is nudged, and less and less often."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.postgresql import promote

STEP = 0.005


class Slow:
    """Stands in for the session of a standby that is in recovery until a moment; each question takes a while."""

    member = SimpleNamespace(name="east")

    def __init__(self, until: float) -> None:
        self.now = 0.0
        self.until = until
        self.nudged: list[float] = []

    def clock(self) -> float:
        return self.now

    def value(self, statement: str) -> bool:
        assert statement == "SELECT pg_is_in_recovery()"
        self.now += STEP
        return self.now < self.until

    def run(self, statement: str) -> None:
        if "reload" in statement:
            self.nudged.append(self.now)


def nudges(until: float) -> list[float]:
    session: Any = Slow(until)
    found = promote.promote(session, seconds=10, clock=session.clock)
    assert found.nudges == len(session.nudged)
    return list(session.nudged)


def test_one_that_promotes_at_once_is_not_nudged() -> None:
    assert nudges(promote.NUDGE_SECONDS) == []


def test_each_nudge_doubles_the_time_to_the_next() -> None:
    at = nudges(0.35)
    gaps = [later - earlier for earlier, later in pairwise(at)]
    assert len(at) == 4
    assert all(later >= 1.7 * earlier for earlier, later in pairwise(gaps))
