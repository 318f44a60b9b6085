# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a region counts as lost, and what a run may do then. Tables, no server."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import pytest

from ansible_collections.platform.recovery.plugins.module_utils import edge
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.model import (
    Credentials,
    Member,
    MemberState,
    Receiver,
)
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.vantage import Says, Statement
from ansible_collections.platform.recovery.plugins.module_utils.region import decide, observe, writable
from ansible_collections.platform.recovery.plugins.module_utils.region.model import Database, View

WEST_DOWN = MemberState("west", "a:1", False, why_not="connection refused at a:1", cause="refused")
WEST_PRIMARY = MemberState("west", "a:1", True, in_recovery=False, system_identifier="7", timeline=1)
EAST_STANDBY = MemberState("east", "b:1", True, in_recovery=True, system_identifier="7", timeline=1)
EAST_PRIMARY = replace(EAST_STANDBY, in_recovery=False, timeline=2)
WEST_FOLLOWS = replace(WEST_PRIMARY, in_recovery=True, receiver=Receiver("streaming"))


def say(vantage: str, says: Says, region: str = "west") -> Statement:
    return Statement(vantage, region, says, f"{vantage} saw it")


SQL, EDGE, PODS = say("sql db", "lost"), say("edge west", "lost"), say("kubernetes west", "lost")
STANDBY, CHECKERS = say("standby db in east", "lost"), say("route53 example.com", "lost")
EYES = ("sql db", "edge west", "kubernetes west", "standby db in east", "service db at edge east", "route53 zone")
ALIVE = [say(one, "alive") for one in EYES]


def view(*said: Statement, west: MemberState = WEST_DOWN, east: MemberState = EAST_STANDBY) -> View:
    return View("east", (*said, say("edge east", "alive", "east")), {"db": {"west": west, "east": east}})


@pytest.mark.parametrize(
    ("said", "standing"),
    [
        ([SQL, EDGE, PODS, STANDBY, CHECKERS], "lost"),
        ([SQL, STANDBY], "lost"),
        ([STANDBY, CHECKERS, say("edge west", "cannot say")], "lost"),
        ([SQL, say("service db at edge east", "lost")], "lost"),
        # A network that is broken before us makes all of our own doors say the same.
        ([SQL, EDGE, PODS], "unclear"),
        ([SQL, EDGE, PODS, say("standby db in east", "cannot say"), say("route53 zone", "cannot say")], "unclear"),
        # One kind fails together.
        ([STANDBY, say("standby other in east", "lost")], "unclear"),
        ([], "unclear"),
        *[([SQL, EDGE, PODS, STANDBY, CHECKERS, one], "answers in part") for one in ALIVE],
    ],
)
def test_who_has_to_say_what(said: list[Statement], standing: str) -> None:
    assert decide.stands(view(*said), "west") == standing


@pytest.mark.parametrize(
    ("west", "east", "standing"),
    [
        (WEST_PRIMARY, EAST_STANDBY, "holds the primary"),
        (WEST_PRIMARY, EAST_PRIMARY, "holds the primary"),
        (WEST_DOWN, EAST_STANDBY, "answers in part"),
        (WEST_DOWN, EAST_PRIMARY, "left"),
        # It came back as a standby that follows nobody: its own signal keeps it from writing.
        (replace(WEST_PRIMARY, in_recovery=True), EAST_PRIMARY, "left"),
        (WEST_FOLLOWS, EAST_PRIMARY, "follows"),
    ],
)
def test_a_region_that_answers(west: MemberState, east: MemberState, standing: str) -> None:
    assert decide.stands(view(ALIVE[0], west=west, east=east), "west") == standing


@pytest.mark.parametrize(
    ("said", "standing"),
    [
        ([], "stands by"),
        ([say("edge north", "alive", "north")], "stands by"),
        ([say("edge north", "lost", "north")], "stands by"),
        ([say("edge north", "lost", "north"), say("route53 zone", "lost", "north")], "lost"),
    ],
)
def test_a_region_without_databases_is_in_nobodys_way(said: list[Statement], standing: str) -> None:
    seen = view(SQL, STANDBY, *said)
    verdict = decide.judge(seen, ["west", "north"], word=False)
    assert verdict.standing == {"west": "lost", "north": standing}
    assert not any(gate.refuses for gate in decide.gates(seen, verdict, "failover", None))
    # Not even once everything is in the target: what runs there is nobody's to stop.
    moved = view(SQL, STANDBY, *said, east=EAST_PRIMARY)
    assert decide.judge(moved, ["west", "north"], word=False).left == ()


def test_what_twenty_databases_say_is_put_in_short() -> None:
    said = [say(f"sql db{number}", "lost") for number in range(20)] + [CHECKERS]
    text = decide.in_short(said)
    assert "20 of sql lost, such as west: sql db0: sql db0 saw it" in text
    assert "1 of route53 lost" in text
    assert len(text) < 250


def test_a_partition_that_only_we_see_is_refused_with_both_facts() -> None:
    seen = view(SQL, EDGE, PODS, say("standby db in east", "alive"))
    verdict = decide.judge(seen, ["west"], word=True)
    assert verdict.lost == (), "nobody's word makes a region lost that answers others"
    _, gate = decide.gates(seen, verdict, "failover", "I say so")
    assert gate.refuses
    assert "edge west saw it (lost)" in gate.observed
    assert "standby db in east saw it (alive)" in gate.observed


@pytest.mark.parametrize("word", [False, True])
def test_the_operators_word_stands_in_where_nobody_can_say(word: bool) -> None:
    seen = view(SQL, EDGE, PODS)
    verdict = decide.judge(seen, ["west"], word=word)
    _, gate = decide.gates(seen, verdict, "failover", "fire in the building")
    assert (verdict.lost, gate.verdict) == ((("west",), "override") if word else ((), "refuse"))
    assert gate.by == ("operator: fire in the building" if word else "observation")
    assert word or "recovery_fence_statement" in str(gate.next_action)


@pytest.mark.parametrize(
    ("mode", "west", "verdict"),
    [
        ("failover", WEST_PRIMARY, "refuse"),
        ("switchover", WEST_PRIMARY, "pass"),
        ("switchover", WEST_DOWN, "refuse"),
    ],
)
def test_a_planned_move_needs_a_region_that_lives(mode: str, west: MemberState, verdict: str) -> None:
    seen = view(*(ALIVE if west.is_primary else [SQL, STANDBY]), west=west)
    [_, gate] = decide.gates(seen, decide.judge(seen, ["west"], word=False), mode, None)
    assert gate.verdict == verdict


def test_a_target_with_a_shut_door_is_refused_and_its_health_elsewhere_is_not() -> None:
    found = [decide.target_gate(view(say(one, "lost", "east"))).verdict for one in ("kubernetes east", "route53 zone")]
    assert found == ["refuse", "pass"]


def test_what_is_left_to_do_in_a_silent_region_is_said() -> None:
    verdict = decide.judge(view(SQL, STANDBY), ["west"], word=False)
    [text] = decide.pending(verdict, ["west-1"], "east")
    assert "when west is back" in text
    assert "recovery_target=east" in text
    assert decide.pending(verdict, [], "east") == []


DATABASE = Database("db", {name: Member(name, f"db.{name}") for name in ("west", "east")}, Credentials("u", "p"))


@pytest.mark.parametrize(
    ("health", "says"),
    [
        (edge.Health("/healthz", 200, {"host": "db.west", "in_recovery": False}, taken=True), "alive"),
        (edge.Health("/healthz", 503, None, taken=True), "lost"),
        (edge.Health("/healthz", trouble="no answer in time", taken=True), "lost"),
        (edge.Health("/healthz", trouble="connection refused"), "cannot say"),
        # It works with the target's own member by now, which says nothing of the west.
        (edge.Health("/healthz", 200, {"host": "db.east", "in_recovery": False}, taken=True), "cannot say"),
    ],
)
def test_the_targets_services_have_a_way_of_their_own(health: edge.Health, says: str) -> None:
    [statement] = observe.service_words(DATABASE, ["west"], {"east": [health]})
    assert (statement.vantage, statement.member, statement.says) == ("service db at edge east", "west", says)


NOW = 1_000_000.0


@pytest.mark.parametrize(
    ("reports", "says"),
    [
        ([("Success", 5)], "alive"),
        # Healthy when they last looked, which was before we did.
        ([("Success", -9)], "cannot say"),
        ([("Failure", -9)], "lost"),
        ([("Success", 5)] + [("Failure", 5)] * 4, "alive"),
        ([("Success", 5)] + [("Failure", 5)] * 9, "lost"),
        ([], "cannot say"),
    ],
)
def test_the_checkers_word_counts_as_of_when_they_looked(reports: list[tuple[str, int]], says: str) -> None:
    rows = [
        {"Status": f"{word}: x", "CheckedTime": datetime.fromtimestamp(NOW + at, tz=timezone.utc)}
        for word, at in reports
    ]
    assert observe.judged(rows, "route53 zone", "west", NOW).says == says


@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        (EAST_PRIMARY, "pass"),
        (EAST_STANDBY, "refuse"),
        (replace(EAST_PRIMARY, read_only=True), "refuse"),
        (WEST_DOWN, "refuse"),
    ],
)
def test_traffic_waits_for_a_primary_that_takes_writes(state: MemberState, verdict: str) -> None:
    assert writable.gate("db", "east", state).verdict == verdict


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        ({"target": "east"}, "pass"),
        ({"target": "east", "failed": True}, "refuse"),
        ({"target": "west"}, "refuse"),
        ({}, "refuse"),
    ],
)
def test_traffic_waits_for_the_stores(result: dict[str, object], verdict: str) -> None:
    assert writable.store_gate("redis", "east", result).verdict == verdict
