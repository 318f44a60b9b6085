# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a primary's loss is confirmed, and by whom the gate is passed where it is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils import edge
from ansible_collections.platform.recovery.plugins.module_utils.postgresql import decide, observe, vantage
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.model import (
    DatabaseView,
    Evidence,
    Member,
    MemberState,
    Receiver,
)
from ansible_collections.platform.recovery.plugins.module_utils.service_manager import UnitStatus

SINCE = "2026-11-23T10:30:00.000Z"
WEST = MemberState("west", "a:1", False, why_not="connection refused at a:1", cause="refused")
EAST = MemberState("east", "b:1", True, in_recovery=True, system_identifier="7", timeline=1, asked_at=100.0)
MEMBERS = {name: Member(name, f"db.{name}") for name in ("west", "east", "north")}


def seen(name: str, alive: bool | None, member: str = "west") -> Evidence:
    return Evidence(name, member, f"{name} saw it", alive)


SQL, PEER, EDGE = seen("sql", False), seen("standby east", False), seen("edge west", False)
PODS, UNIT = seen("kubernetes west", False), seen("service manager", False)
READY, ACTIVE, STARTING = seen("kubernetes west", True), seen("service manager", True), seen("sql", True)
HEARD, WORKS = seen("standby east", True), seen("edge east", True)
CUT = [seen(name, None) for name in ("sql", "kubernetes west", "edge west", "service manager")]


@pytest.mark.parametrize(
    ("evidence", "outcome"),
    [
        # A killed primary, looked at in the same moment: readiness still says what was.
        ([SQL, PEER, READY], "confirmed"),
        ([SQL, PEER, READY, UNIT, EDGE], "confirmed"),
        ([SQL, PODS], "confirmed"),
        ([SQL, EDGE], "confirmed"),
        ([SQL, UNIT], "confirmed"),
        ([PEER, EDGE, *CUT], "confirmed"),
        # A frozen one: its unit is active, its standby waits for the next message.
        ([SQL, seen("standby east", None), ACTIVE, READY, EDGE], "confirmed"),
        ([STARTING, PEER, EDGE], "confirmed"),
        ([SQL, seen("pager", False)], "confirmed"),
        # Somebody hears it.
        ([SQL, PEER, PODS, WORKS], "disagreement"),
        ([SQL, HEARD, PODS, EDGE], "disagreement"),
        ([WORKS], "disagreement"),
        ([SQL, PEER, seen("pager", True)], "disagreement"),
        # One kind alone, however many of it; and those that cannot say.
        ([], "too few"),
        ([SQL], "too few"),
        ([SQL, READY, ACTIVE], "too few"),
        ([EDGE, seen("edge east", False)], "too few"),
        ([seen("standby east", False), seen("standby north", False)], "too few"),
        ([PEER, *CUT], "too few"),
        (CUT, "too few"),
        ([SQL, seen("standby east", False, member="north")], "too few"),
    ],
)
def test_when_a_loss_is_confirmed(evidence: list[Evidence], outcome: str) -> None:
    assert vantage.weigh([vantage.state(item) for item in evidence], ["west"]).outcome == outcome


def test_every_member_that_may_hold_the_primary_needs_its_own_two() -> None:
    said = [vantage.state(item) for item in (SQL, PEER, seen("sql", False, "north"))]
    assert vantage.weigh(said, ["west"]).outcome == "confirmed"
    assert vantage.weigh(said, ["west", "north"]).outcome == "too few"


@pytest.mark.parametrize(
    ("evidence", "request_", "verdict", "by", "words"),
    [
        ([SQL, PEER], {}, "pass", "observation", "sql: sql saw it (lost)"),
        ([SQL, WORKS], {}, "refuse", "observation", "edge east: edge east saw it (alive); statement: none"),
        ([SQL, WORKS], {"reason": "r"}, "refuse", "observation", "disagreement: west"),
        ([SQL, WORKS], {"statement": "off", "reason": "r"}, "override", "operator: r", "statement: off"),
        ([SQL], {}, "refuse", "observation", "too few: west"),
        ([SQL], {"statement": "off", "reason": "r"}, "override", "operator: r", "statement: off"),
        ([SQL, PEER], {"statement": "off", "reason": "r"}, "pass", "observation", "(lost)"),
    ],
)
def test_by_whom_the_gate_is_passed(
    evidence: list[Evidence], request_: dict[str, Any], verdict: str, by: str, words: str
) -> None:
    view = DatabaseView({"west": WEST, "east": EAST}, tuple(evidence))
    request = replace(decide.Request(target="east", mode="failover"), **request_)
    [gate] = [
        gate
        for gate in decide.confirmation_gates(view, decide.judge(view, "east"), request)
        if gate.gate == "failure confirmed"
    ]
    assert (gate.verdict, gate.by) == (verdict, by)
    assert words in gate.observed
    assert ("recovery_fence_statement" in (gate.next_action or "")) is gate.refuses


def test_the_table_shows_who_says_what_and_since_when() -> None:
    found = [
        SQL,
        replace(PEER, since=SINCE),
        replace(PODS, observed=f"0 of 4 ready, since {SINCE}", since=SINCE),
        READY,
    ]
    assert vantage.table([vantage.state(item) for item in found]) == [
        "west  sql              lost        sql saw it",
        f"west  standby east     lost        standby east saw it, since {SINCE}",
        f"west  kubernetes west  lost        0 of 4 ready, since {SINCE}",
        "west  kubernetes west  cannot say  kubernetes west saw it",
    ]
    view = DatabaseView({"west": WEST, "east": EAST}, tuple(found))
    lines = decide.facts(view, decide.judge(view, "east"), decide.Request("east", "failover"))
    assert lines[2] == "west  sql              lost        sql saw it"


@pytest.mark.parametrize(
    ("cause", "host_answers", "alive"),
    [
        ("refused", False, False),
        ("lost", False, False),
        ("timeout", True, False),
        ("timeout", False, None),
        ("starting", False, True),
    ],
)
def test_silence_is_a_loss_only_where_the_way_to_the_server_is_open(
    cause: str, host_answers: bool, alive: bool | None
) -> None:
    state = replace(WEST, cause=cause)
    assert observe.sql_evidence(state, host_answers=host_answers).alive is alive


@pytest.mark.parametrize(("answered", "sql"), [(True, False), (False, None)])
def test_the_service_manager_shows_that_the_way_is_open(
    monkeypatch: pytest.MonkeyPatch, answered: bool, sql: bool | None
) -> None:
    unit = UnitStatus("postgresql is active", answered, "active" if answered else None)
    monkeypatch.setattr(observe.service_manager, "status", lambda _fence, **_limits: unit)
    west = replace(MEMBERS["west"], fence=replace(MEMBERS["west"].fence, method="systemd"))
    streaming = replace(EAST, receiver=Receiver("streaming", 1, message_age_seconds=4.0))
    managers = observe.service_manager_evidence([west, replace(west, name="north")], 1)
    found = observe.witnesses(
        {**MEMBERS, "west": west},
        {"west": replace(WEST, cause="timeout"), "east": streaming},
        target="east",
        managers=managers,
        look_again=lambda _: {"east": replace(streaming, asked_at=101.0, receiver=Receiver("streaming", 1))},
    )
    assert {item.vantage: item.alive for item in found} == {
        "sql": sql,
        "standby east": None,
        "service manager": True if answered else None,
    }
    assert {item.since for item in found if item.vantage == "standby east"} == {"1970-01-01T00:01:36.000Z"}


def health(status: int | None, host: str | None = None, **more: Any) -> edge.Health:
    database = {"host": host, **more.pop("database", {})} if host else None
    return edge.Health("/v1/a/healthz", status, database, taken=status is not None, **more)


@pytest.mark.parametrize(
    ("answers", "member", "alive"),
    [
        ([health(200, "db.west")], "west", True),
        ([health(503), health(200, "db.west")], "west", True),
        ([health(200, "a-pooler")], "west", True),
        ([health(200, "db.north")], "north", True),
        ([health(200, "db.east")], "west", None),
        ([health(200, "db.west", database={"in_recovery": True})], "west", None),
        ([health(200)], "west", None),
        ([health(404)], "west", None),
        ([health(401), health(302)], "west", None),
        ([health(503), health(404)], "west", False),
        ([health(502)], "west", False),
        ([edge.Health("/", trouble="no answer in time", taken=True)], "west", False),
        ([edge.Health("/", trouble="no answer in time")], "west", None),
        ([edge.Health("/", trouble="Connection refused")], "west", None),
    ],
)
def test_what_an_edge_says(answers: list[edge.Health], member: str, alive: bool | None) -> None:
    [found] = observe.edge_evidence({"west": answers}, MEMBERS, ["west", "north"], "west")
    assert (found.vantage, found.member, found.alive) == ("edge west", member, alive)


def test_an_edge_counts_its_answers() -> None:
    answers = [health(503), health(503), edge.Health("/", trouble="no answer in time", taken=True)]
    [found] = observe.edge_evidence({"west": answers}, MEMBERS, ["west"], "west")
    assert found.observed == "2 of 3 services: status 503; 1 of 3 services: no answer in time"
    assert observe.edge_evidence({"west": answers}, MEMBERS, ["west", "north"], None) == []


@pytest.mark.parametrize(
    ("states", "evidence", "open_"),
    [
        ([WEST], [SQL], True),
        ([WEST], [SQL, ACTIVE], True),
        ([WEST], [SQL, UNIT], False),
        ([WEST, replace(WEST, name="north")], [SQL, UNIT], True),
        ([replace(WEST, reachable=True, in_recovery=False)], [], False),
        ([replace(EAST, name="west")], [], False),
    ],
)
def test_edges_are_waited_for_while_they_can_change_what_is_known(
    states: list[MemberState], evidence: list[Evidence], open_: bool
) -> None:
    view = DatabaseView({state.name: state for state in [*states, EAST]}, tuple(evidence))
    assert decide.open_question(decide.judge(view, "east"), evidence) is open_
