# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Events, and what is shown of them."""

from __future__ import annotations

import io
from typing import Any

import pytest

import platform_recovery as pr
from platform_recovery import views
from platform_recovery._collection import module
from platform_recovery.events import KINDS, from_record

START = "2026-11-23T10:30:00.000Z"


def event(name: str, at: float = 0.0, **data: Any) -> pr.Event:
    stamp = module("clock").stamp(module("clock").parse(START) + at)
    return from_record({"seq": 1, "time": stamp, "run_id": "r", "event": name, "data": data})


RUN = (
    event(
        "run_started", playbook="database-failover", mode="failover", target="us-east-1",
        objectives=[{"name": "rto", "target_seconds": 60}],
    ),
    event("phase_started", 0.1, phase="confirm", title="Confirm the failure", budget_seconds=30),
    event("decision", 0.5, gate="failure", observed="us-west-2 is silent", verdict="pass"),
    event("phase_ended", 1.1, phase="confirm", seconds=1.0, outcome="ok"),
    event("phase_started", 1.2, phase="promote", title="Promote", budget_seconds=30),
)  # fmt: skip


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_every_kind_reads_an_empty_record(name: str, kind: type[pr.Event]) -> None:
    assert type(event(name)) is kind
    views.Board().take(event(name))


def test_what_a_later_version_writes_is_an_event_too() -> None:
    unknown = event("weather", wind=3)
    assert type(unknown) is pr.Event
    assert unknown.data == {"wind": 3}


def test_the_checklist_shows_what_is_done_what_is_under_way_and_the_clock() -> None:
    board = views.Board()
    for item in RUN:
        board.take(item)
    lines = board.lines(module("clock").parse(START) + 15.2, 100, 30)
    assert lines[0] == "Database failover to us-east-1 · r"
    assert lines[1].startswith("RTO 00:15.2 of 1:00  █████░")
    assert lines[2].startswith("  ✔ Confirm the failure")
    assert lines[2].endswith("00:01.0 / 0:30")
    assert lines[3].startswith("  ▶ Promote")
    assert lines[3].endswith("00:14.0 / 0:30")
    assert "us-west-2 is silent" in lines[4]
    assert "over the objective" in board.lines(module("clock").parse(START) + 61, 100, 30)[1]
    assert all(len(line) <= 40 for line in board.lines(module("clock").parse(START), 40, 30))
    assert len(board.lines(module("clock").parse(START), 100, 4)) <= 4


def test_the_clock_stops_at_the_first_acknowledged_write() -> None:
    board = views.Board()
    for item in RUN:
        board.take(item)
    after = module("clock").stamp(module("clock").parse(START) + 3.5)
    board.take(event("canary_measured", 9, outage={"first_acknowledged_after": after, "seconds": 3.4}))
    assert board.lines(module("clock").parse(START) + 50, 100, 30)[1].startswith("RTO 00:03.5 of 1:00")


def test_a_resumed_run_keeps_its_name_and_its_clock() -> None:
    report = module("report").build(
        [{"seq": 1, "time": START, "run_id": "r", "event": "run_started", "hash": "", "data": {**RUN[0].data}}]
    )
    board = views.Board()
    board.recall(report)
    assert "Database failover to us-east-1" in str(board.take(event("run_resumed", 20, initiator="me")))
    lines = board.lines(module("clock").parse(START) + 30, 100, 30)
    assert lines[0] == "Database failover to us-east-1 · r"
    assert lines[1].startswith("RTO 00:30.0 of 1:00")
    report["outage"] = {"first_acknowledged_after": module("clock").stamp(module("clock").parse(START) + 4)}
    board.recall(report)
    assert board.lines(module("clock").parse(START) + 30, 100, 30)[1].startswith("RTO 00:04.0 of 1:00")


def test_the_facts_of_the_gates_stay_in_sight() -> None:
    board = views.Board()
    gates = [event("decision", 2 + n, gate=f"gate {n}", observed=f"fact {n}", verdict="pass") for n in range(12)]
    for item in (*RUN, *gates, gates[5], event("observation", 20, what="servers", lines=["something passing"])):
        board.take(item)
    lines = board.lines(module("clock").parse(START) + 21, 100, 30)
    assert [line.strip()[:6] for line in lines[4:-1]] == [f"gate {n}" for n in (4, 6, 7, 8, 9)] + [
        "gate 1", "gate 1", "gate 5",
    ]  # fmt: skip
    assert lines[-1].strip() == "something passing"
    assert len(board.lines(module("clock").parse(START) + 21, 100, 8)) <= 8


class Broken(io.StringIO):
    """A terminal whose other end is gone."""

    def write(self, _text: str, /) -> int:
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("view", [views.Lines(Broken(), verbose=True), views.Live(Broken(), color=True)])
def test_a_lost_terminal_is_no_error(view: views.View) -> None:
    with view:
        for item in RUN:
            view.show(item)
        view.say("words")
        view.output("words")


def test_lines_say_each_thing_once() -> None:
    stream = io.StringIO()
    with views.Lines(stream) as view:
        for item in (*RUN, event("step_failed", 2, kind="failed", msg="no route", next_action="look"),
                     event("run_ended", 2.1, outcome="failed")):  # fmt: skip
            view.show(item)
        view.output("ansible's own words")
    assert stream.getvalue().splitlines() == [
        "10:30:00.000  Database failover to us-east-1 · failover · r",
        "10:30:00.100  ▶ Confirm the failure",
        "10:30:00.500    failure: pass; observed us-west-2 is silent",
        "10:30:01.100  ✔ Confirm the failure (1 s, budget 30 s)",
        "10:30:01.200  ▶ Promote",
        "10:30:02.000  ✘ no route Next: look",
    ]


def test_a_sink_that_is_down_stays_in_sight_until_it_is_there_again() -> None:
    board = views.Board()
    for item in RUN:
        board.take(item)
    assert board.take(event("sink_down", 3, why="it cannot be reached")) == (
        "  the journal's sink is DOWN (it cannot be reached)"
    )
    assert "DOWN" in board.lines(module("clock").parse(START) + 4, 100, 8)[2]
    assert board.take(event("sink_up", 5, seconds=2.0)) == "  the journal is in its sink again"
    assert not any("DOWN" in line for line in board.lines(module("clock").parse(START) + 6, 100, 30))


def test_the_outlook_is_said_when_it_changes() -> None:
    board = views.Board()
    said = [
        event("outlook", 1, verdict="at_risk", left_seconds=60.0, predicted_seconds=70.0, high_seconds=90.0),
        event("outlook", 70, objective="rto", verdict="missed", left_seconds=-1.0),
    ]
    assert [board.take(item) for item in said] == [
        "  RTO at risk, 1 min left; predicted 1 min 10 s, at worst 1 min 30 s",
        "  RTO missed",
    ]
