# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run waited for where several things went on at once."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils import phases, report_path
from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput

PHASES = [
    {"name": "fence", "seconds": 0.6, "attempt": 1},
    {"name": "traffic", "seconds": 5.7, "attempt": 1},
]


def step(host: str, task: str, seconds: float, phase: str = "traffic", attempt: int = 1) -> dict[str, Any]:
    return {"phase": phase, "host": host, "task": task, "seconds": seconds, "attempt": attempt}


STEPS = [
    step("names", "a role : See that it takes writes", 0.1),
    step("applications", "a role : Bring it back", 0.5),
    step("names", "a role : Lead the names", 5.4),
    step("applications", "a role : Give it the sizes", 0.3),
    step("applications", "a role : Of an attempt before", 99.0, attempt=0),
]


def test_the_longest_of_those_that_worked_at_once_was_waited_for() -> None:
    fence, traffic = report_path.critical_path(PHASES, STEPS)
    assert fence == {"phase": "fence", "seconds": 0.6, "host": None, "task": None, "beside": []}
    assert (traffic["host"], traffic["task"]) == ("names", "a role : Lead the names")
    assert traffic["beside"] == [{"host": "applications", "seconds": 0.8}]
    assert report_path.words([fence, traffic]) == [
        "traffic 5.7 s: waited for names (Lead the names); beside it applications 0.8 s"
    ]


def test_a_phase_of_one_is_not_worth_words() -> None:
    assert report_path.words(report_path.critical_path(PHASES, [STEPS[0]])) == []


def test_a_play_says_that_its_hosts_do_different_things() -> None:
    phase = phases.declared({"name": "traffic", "budget_seconds": 1, "side_by_side": True}, "Let clients in")
    assert phase == phases.Phase("traffic", "Let clients in", 1, side_by_side=True)
    with pytest.raises(BadInput):
        phases.declared({"name": "traffic", "beside": True}, "Let clients in")
