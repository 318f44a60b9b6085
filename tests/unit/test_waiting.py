# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.errors import StepFailed, StepTimeout
from ansible_collections.platform.recovery.plugins.module_utils.waiting import wait_until


class FakeTime:
    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_gives_the_value_the_time_and_the_attempts() -> None:
    time = FakeTime()
    answers = iter([None, None, "up"])
    waited = wait_until(lambda: next(answers), seconds=5, interval=0.5, clock=time.clock, sleep=time.sleep)
    assert (waited.value, waited.elapsed, waited.attempts) == ("up", 1.0, 3)


def test_asks_once_even_without_time() -> None:
    assert wait_until(lambda: "up", seconds=0).attempts == 1


def test_never_sleeps_past_the_deadline() -> None:
    time = FakeTime()
    with pytest.raises(StepTimeout):
        wait_until(lambda: None, seconds=1.2, interval=0.5, clock=time.clock, sleep=time.sleep)
    assert time.slept == pytest.approx([0.5, 0.5, 0.2])


def test_the_deadline_names_what_was_wanted_and_last_seen() -> None:
    def probe() -> bool:
        raise StepFailed("the standby does not answer")

    with pytest.raises(StepTimeout, match=r"standby does not answer.*Wanted: the standby to answer.*Next: look"):
        wait_until(probe, seconds=0, describe="the standby to answer", next_action="look at its log")


def test_a_defect_of_the_probe_is_not_swallowed() -> None:
    def probe() -> bool:
        raise KeyError("typo")

    with pytest.raises(KeyError):
        wait_until(probe, seconds=1)
