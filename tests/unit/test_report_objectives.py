# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be said of the data loss, case by case."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils import clock, report_words
from ansible_collections.platform.recovery.plugins.module_utils.postgresql import decide
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.model import Loss
from ansible_collections.platform.recovery.plugins.module_utils.report_objectives import later_look, measured, rpo

GOAL = 60.0
Data = dict[str, Any]


def at(seconds: float) -> str:
    return clock.stamp(1795516200.0 + seconds)


def canary(count: int | None = 0, *, before: bool = True, failed: bool = True, **more: Any) -> Data:
    outage = {
        "first_failed_at": at(0) if failed else None,
        "last_acknowledged_before": at(-0.1) if before and failed else None,
        "first_acknowledged_after": at(3) if failed else None,
        "seconds": 3.1 if failed else 0.0,
        "acknowledged_writes": 900,
        "lost_writes": count,
    }
    return {"outage": outage, "lost_writes": count, "checked_writes": 900, **more}


def gate(seconds: float | None, *, goal: float | None = GOAL, allow: bool = False, size: int | None = 64) -> Data:
    """Give the decision as the promotion's own gate words it."""
    request = decide.Request("east", "failover", rpo_seconds=goal, allow_data_loss=allow, reason="x")
    found = decide.loss_gate(Loss(seconds, size, "age of the newest change it holds"), request)
    return {"gate": found.gate, "observed": found.observed, "verdict": found.verdict}


NOTHING_LOST = gate(0.0, size=0)
BLIND = canary(before=False, rpo_seconds=None, rpo_how="no acknowledged write before the failure")


@pytest.mark.parametrize(
    ("seen", "decisions", "seconds", "bound", "met", "says"),
    [
        # measured
        (canary(rpo_seconds=0.0), [gate(1.2)], 0.0, None, True, "none of 900 acknowledged writes is missing"),
        (canary(), [], 0.0, None, True, "none of 900"),
        (canary(2, rpo_seconds=0.7), [gate(1.2)], 0.7, None, True, "2 of 900 acknowledged writes missing"),
        (canary(2, rpo_seconds=61.0), [gate(1.2)], 61.0, None, False, "2 of 900"),
        (canary(2, lost=[{"acknowledged_at": at(-5)}, {"acknowledged_at": at(1)}]), [], 6.0, None, True, "2 of 900"),
        # nothing failed while the run went on
        (canary(failed=False, rpo_seconds=0.0), [], 0.0, None, True, "none of 900"),
        # not measured, but bounded by what the standby held
        (BLIND, [gate(1.2)], None, 1.25, True, "no client watched before the failure; the bound read from the standby"),
        (BLIND, [NOTHING_LOST], None, 0.0, True, "is up to 0 s"),
        (canary(before=False), [gate(1.2)], None, 1.25, True, "no client watched before the failure"),
        (canary(None), [gate(1.2)], None, 1.25, True, "not read back; the bound"),
        (
            canary(5, rpo_seconds=None, rpo_how="5 are missing, but"),
            [gate(30)],
            None,
            30.05,
            True,
            "5 are missing, but",
        ),
        ({}, [gate(1.2)], None, 1.25, True, "no probe ran; the bound read from the standby before the promotion"),
        ({}, [gate(60)], None, 60.0, True, "is up to 1 min"),
        # the worst of several databases counts, and a refusal that did not stand does not
        (BLIND, [gate(1.2), gate(8), NOTHING_LOST], None, 8.05, True, "up to 8.05 s"),
        (BLIND, [gate(4000), gate(1.2)], None, 1.25, True, "up to 1.25 s"),
        # beyond the objective, accepted by an override
        (
            BLIND,
            [gate(4000, allow=True), gate(1)],
            None,
            4005.0,
            False,
            "the expected loss was up to 66.7 min of writes",
        ),
        (BLIND, [gate(None, allow=True)], None, None, False, "the expected loss was 64 B of log"),
        (BLIND, [gate(None, allow=True, size=None)], None, None, False, "the expected loss was unknown"),
        (BLIND, [gate(9000, goal=None)], None, 9180.0, False, "the expected loss was up to 2.5 h of writes"),
        # nothing is known
        (BLIND, [], None, None, False, "no client watched before the failure"),
        ({}, [], None, None, False, "no probe ran"),
        (canary(2, lost=["a", "b"]), [], None, None, False, "when they were written is not known"),
    ],
)
def test_data_loss(seen: Data, decisions: list[Data], seconds: Any, bound: Any, met: bool, says: str) -> None:
    found = rpo(GOAL, seen, decisions, recovered=True, changed=True)
    assert (found["measured_seconds"], found["bound_seconds"], found["met"]) == (seconds, bound, met)
    assert says in found["how"]
    assert found["how"].startswith("not measured: ") is (seconds is None)
    # Before the end, and without an objective, nothing that was not measured is judged.
    for other in (
        rpo(GOAL, seen, decisions, recovered=False, changed=True),
        rpo(None, seen, decisions, recovered=True, changed=True),
    ):
        assert other["measured_seconds"] == seconds
        if seconds is None:
            assert other["met"] is None


def test_a_run_that_changed_nothing_and_saw_nothing_is_not_judged() -> None:
    found = rpo(GOAL, {}, [], recovered=True, changed=False)
    assert (found["measured_seconds"], found["met"]) == (None, None)
    assert found["how"] == "no probe ran; nothing was changed"


@pytest.mark.parametrize(
    ("decisions", "value", "verdict"),
    [([gate(1.2)], "at most 1.25 s", "bounded"), ([gate(None, allow=True)], "—", "not proven")],
)
def test_what_was_not_measured_is_never_called_met(decisions: list[Data], value: str, verdict: str) -> None:
    found = rpo(GOAL, BLIND, decisions, recovered=True, changed=True)
    assert (report_words.achieved(found), report_words.verdict(found)) == (value, verdict)


def test_a_negative_time_is_a_clock_that_is_wrong() -> None:
    found = measured("rto", GOAL, -2.5, "from the alert to the first acknowledged write")
    assert (found["measured_seconds"], found["met"]) == (None, None)
    assert "-2.5 s from the alert" in found["how"]
    assert "clocks disagree" in found["how"]


QUIET = canary(0, failed=False, rpo_seconds=0.0, rpo_how="all were read back")


@pytest.mark.parametrize(
    ("before", "now", "seconds", "lost", "age"),
    [
        ({}, canary(2, rpo_seconds=0.7), 3.1, 2, 0.7),
        # The outage stays, and is read back at last.
        (canary(None, rpo_seconds=None, rpo_how="not read"), QUIET, 3.1, 0, 0.0),
        (
            canary(None),
            {**canary(3, failed=False, rpo_seconds=0.1), "lost": [{"acknowledged_at": at(-4)}]},
            3.1,
            3,
            4.0,
        ),
        # A canary that was started anew knows fewer writes: what was lost stays lost.
        (canary(2, rpo_seconds=0.7), {**QUIET, "checked_writes": 10}, 3.1, 2, 0.7),
        (canary(2, rpo_seconds=0.7), {**QUIET, "checked_writes": 1200}, 3.1, 0, 0.0),
        # A look that could not read back forgets nothing, though its outage is the newer one.
        (canary(2, rpo_seconds=0.7, lost=[{"acknowledged_at": at(-1)}]), canary(None), 3.1, 2, 1.0),
    ],
)
def test_a_later_look_keeps_the_outage_and_betters_the_loss(
    before: Data, now: Data, seconds: float, lost: int, age: float
) -> None:
    merged = later_look(before, now)
    assert (merged["outage"]["seconds"], merged["outage"]["lost_writes"], merged["lost_writes"]) == (
        seconds,
        lost,
        lost,
    )
    assert rpo(GOAL, merged, [], recovered=True, changed=True)["measured_seconds"] == age
