# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every decision, as a table of what is seen and what follows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.postgresql import decide, observe
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.decide import Request, judge
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.model import (
    Attached,
    DatabaseView,
    Evidence,
    Known,
    MemberState,
    Receiver,
    format_lsn,
    parse_lsn,
    shown_bytes,
    shown_seconds,
)

NOW = 1_000_000.0
RECEIVER = Receiver("streaming", 1, flushed_lsn=1000, latest_end_lsn=1000, message_age_seconds=0.1)
PRIMARY = MemberState(
    "west",
    "a:1",
    True,
    in_recovery=False,
    system_identifier="7",
    timeline=1,
    current_lsn=1000,
    asked_at=NOW,
    attached=(Attached("east", "streaming", "async", replay_lsn=1000),),
)
STANDBY = MemberState(
    "east",
    "b:1",
    True,
    in_recovery=True,
    system_identifier="7",
    timeline=1,
    receive_lsn=1000,
    replay_lsn=1000,
    last_replay_at=NOW - 2,
    asked_at=NOW,
    receiver=RECEIVER,
)
DOWN = MemberState("west", "a:1", False, why_not="connection refused at a:1", cause="refused")
STARTING = replace(DOWN, cause="starting", why_not="the server is starting up")
ORPHAN = replace(STANDBY, receiver=None)
PROMOTED = replace(STANDBY, in_recovery=False, timeline=2, current_lsn=1000, receiver=None)
ALIVE = Evidence("kubernetes", "west", "pods are ready", True)
DEAD = Evidence("sql", "west", "connection refused", False)
HEARD = Evidence("standby north", "west", "the primary's messages go on", True)
READY = Evidence("kubernetes west", "west", "4 of 4 services ready", True)
UNREADY = Evidence("kubernetes west", "west", "0 of 4 services ready", False)
GONE = Evidence("standby east", "west", "its replication connection is gone", False)
WORKS = Evidence("edge west", "west", "/v1/user-service/healthz works with its database db.west", True)
LOST = (DEAD, GONE)
FENCED = Evidence("service manager", "west", "postgresql is inactive and masked", False, fenced=True)
MIB = 1024 * 1024


def view(*states: MemberState, evidence: tuple[Evidence, ...] = (), known: Known | None = None) -> DatabaseView:
    return DatabaseView({state.name: state for state in states}, evidence, known)


def want(**changes: Any) -> Request:
    return replace(Request(target="east", mode="failover", rpo_seconds=60), **changes)


def refusals(gates: list[decide.Gate]) -> list[str]:
    return [gate.gate for gate in gates if gate.refuses]


@pytest.mark.parametrize(
    ("seen", "standing", "source"),
    [
        (view(PRIMARY, STANDBY), "healthy", "west"),
        (view(DOWN, ORPHAN), "failed", "west"),
        (view(DOWN, ORPHAN, evidence=(DEAD,)), "failed", "west"),
        (view(DOWN, ORPHAN, evidence=(DEAD, ALIVE)), "isolated", "west"),
        (view(DOWN, PROMOTED), "converged", "west"),
        (view(replace(STANDBY, name="west"), PROMOTED), "converged", None),
        (view(PRIMARY, PROMOTED), "split_brain", "west"),
        (view(DOWN, replace(DOWN, name="north"), ORPHAN), "failed", None),
        (view(DOWN, replace(DOWN, name="north"), ORPHAN, known=Known("north", "7")), "failed", "north"),
    ],
)
def test_who_is_primary(seen: DatabaseView, standing: str, source: str | None) -> None:
    verdict = judge(seen, "east")
    assert (verdict.standing, verdict.source) == (standing, source)


def test_disagreement_is_shown() -> None:
    verdict = judge(view(DOWN, ORPHAN, evidence=(DEAD, ALIVE)), "east")
    assert verdict.disagreement is None, "readiness is that of the last probe"
    verdict = judge(view(DOWN, ORPHAN, evidence=(DEAD, WORKS)), "east")
    assert verdict.disagreement == f"west is alive for edge west: {WORKS.observed}, and not for sql: connection refused"
    assert judge(view(DOWN, ORPHAN, evidence=(DEAD,)), "east").disagreement is None
    assert judge(view(DOWN, PROMOTED, evidence=(DEAD, WORKS)), "east").disagreement is None


@pytest.mark.parametrize(
    ("seen", "request_", "refused"),
    [
        (view(DOWN, ORPHAN, evidence=LOST), want(), []),
        (view(DOWN, ORPHAN, evidence=(*LOST, ALIVE)), want(), []),
        (view(DOWN, ORPHAN), want(), ["failure confirmed"]),
        (view(DOWN, ORPHAN, evidence=(DEAD, ALIVE)), want(), ["failure confirmed"]),
        (view(PRIMARY, STANDBY), want(), ["failure confirmed"]),
        (view(DOWN, ORPHAN, evidence=(*LOST, HEARD, READY)), want(), ["failure confirmed"]),
        (view(DOWN, ORPHAN, evidence=(DEAD, HEARD, UNREADY)), want(), ["failure confirmed"]),
        (view(DOWN, ORPHAN, evidence=(DEAD, HEARD, UNREADY)), want(statement="off", reason="r"), []),
        (view(DOWN, ORPHAN, evidence=(*LOST, READY)), want(), []),
        (view(replace(STANDBY, name="west"), ORPHAN), want(), []),
        (view(PRIMARY, STANDBY), want(statement="off", reason="r"), ["failure confirmed"]),
        (view(PRIMARY, STANDBY), want(mode="switchover"), []),
        (view(DOWN, ORPHAN), want(mode="switchover"), ["primary alive"]),
        (view(DOWN, ORPHAN, evidence=(FENCED,)), want(mode="switchover"), []),
        (view(DOWN, PROMOTED), want(), []),
        (view(DOWN, PROMOTED), want(mode="switchover"), []),
        (view(PRIMARY, PROMOTED), want(), ["one primary"]),
        (view(PRIMARY, PROMOTED), want(mode="switchover"), ["one primary"]),
        (view(PRIMARY, replace(DOWN, name="east")), want(mode="switchover"), ["target reachable"]),
        (view(DOWN, replace(DOWN, name="east")), want(), ["target reachable"]),
        (view(PRIMARY, replace(STANDBY, system_identifier="8")), want(mode="switchover"), ["lineage"]),
        (
            view(DOWN, replace(ORPHAN, system_identifier="8"), known=Known("west", "7"), evidence=LOST),
            want(),
            ["lineage"],
        ),
        (view(DOWN, ORPHAN, known=Known("west", "7", timeline=3), evidence=LOST), want(), ["lineage"]),
        (view(PRIMARY, replace(STANDBY, timeline=2)), want(mode="switchover"), ["lineage"]),
        (view(PRIMARY, replace(STANDBY, receiver=None)), want(mode="switchover"), ["standby follows"]),
        (view(PRIMARY, replace(STANDBY, replay_paused=True)), want(mode="switchover"), ["standby follows"]),
        (view(PRIMARY, replace(STANDBY, apply_delay_seconds=60.0)), want(mode="switchover"), ["standby follows"]),
        (view(replace(PRIMARY, current_lsn=500 * MIB), STANDBY), want(mode="switchover"), ["standby follows"]),
        (view(DOWN, replace(ORPHAN, read_only=True), evidence=LOST), want(), ["settings of the target"]),
        (view(DOWN, replace(ORPHAN, synchronous_standby_names="*"), evidence=LOST), want(), ["settings of the target"]),
        (view(DOWN, replace(ORPHAN, last_replay_at=NOW - 61), evidence=LOST), want(), ["expected loss"]),
        (view(DOWN, replace(ORPHAN, last_replay_at=NOW - 61), evidence=LOST), want(failed_at=NOW - 30), []),
        (view(DOWN, replace(ORPHAN, last_replay_at=NOW - 61), evidence=LOST), want(rpo_seconds=None), []),
        (
            view(DOWN, replace(ORPHAN, last_replay_at=NOW - 61), evidence=LOST),
            want(allow_data_loss=True, reason="r"),
            [],
        ),
        (view(DOWN, replace(ORPHAN, last_replay_at=None), evidence=LOST), want(), ["expected loss"]),
    ],
)
def test_what_is_refused_before_anything_is_touched(seen: DatabaseView, request_: Request, refused: list[str]) -> None:
    gates = decide.confirmation_gates(seen, judge(seen, "east"), request_)
    assert refusals(gates) == refused
    assert all(gate.next_action for gate in gates if gate.refuses)


@pytest.mark.parametrize(
    ("seen", "request_", "refused"),
    [
        (view(DOWN, ORPHAN), want(fenced={"west": "stopped"}), []),
        (view(DOWN, ORPHAN), want(fenced={"west": "statement"}), []),
        (view(DOWN, ORPHAN), want(), ["fence"]),
        (view(DOWN, ORPHAN), want(fenced={"west": "none"}), ["fence"]),
        (view(PRIMARY, STANDBY), want(fenced={"west": "stopped"}), ["fence"]),
        (view(STARTING, ORPHAN), want(), ["fence"]),
        (view(replace(STANDBY, name="west"), ORPHAN), want(), []),
        (view(PRIMARY, PROMOTED), want(), []),
        (view(DOWN, ORPHAN), want(fenced={"west": "stopped"}, final_lsn=1000), []),
        (view(DOWN, replace(ORPHAN, last_replay_at=NOW - 99)), want(fenced={"west": "stopped"}, final_lsn=1000), []),
        (
            view(DOWN, replace(ORPHAN, last_replay_at=NOW - 99)),
            want(fenced={"west": "stopped"}, final_lsn=1001),
            ["expected loss"],
        ),
    ],
)
def test_what_is_refused_before_a_promotion(seen: DatabaseView, request_: Request, refused: list[str]) -> None:
    assert refusals(decide.promotion_gates(seen, judge(seen, "east"), request_)) == refused


def test_accepted_loss_is_an_override_by_its_reason() -> None:
    seen = view(DOWN, replace(ORPHAN, last_replay_at=NOW - 61), evidence=LOST)
    gates = decide.confirmation_gates(seen, judge(seen, "east"), want(allow_data_loss=True, reason="storm"))
    assert [(gate.verdict, gate.by) for gate in gates if gate.gate == "expected loss"] == [
        ("override", "operator: storm")
    ]


@pytest.mark.parametrize(
    ("seen", "request_", "seconds", "count"),
    [
        (view(DOWN, PROMOTED), want(), 0, 0),
        (view(PRIMARY, STANDBY), want(mode="switchover"), 0, 0),
        (view(replace(PRIMARY, current_lsn=1500), ORPHAN), want(), 2, 500),
        (view(DOWN, ORPHAN), want(), 2, None),
        (view(DOWN, ORPHAN, known=Known("west", "7", 1, 1400, NOW - 9)), want(), 2, 400),
        (view(DOWN, replace(ORPHAN, last_replay_at=None), known=Known("west", "7", 1, 900, NOW - 9)), want(), 9, None),
        (view(DOWN, replace(ORPHAN, last_replay_at=None, checkpoint_at=NOW - 30)), want(), 30, None),
        (view(DOWN, replace(ORPHAN, last_replay_at=None)), want(covered_until=NOW - 4), 4, None),
        (view(DOWN, ORPHAN), want(covered_until=NOW - 4), 2, None),
        (view(DOWN, ORPHAN), want(failed_at=NOW - 1), 1, None),
        (view(DOWN, ORPHAN, evidence=(DEAD, ALIVE)), want(failed_at=NOW - 1), 2, None),
        (view(DOWN, replace(STANDBY, last_replay_at=NOW - 50)), want(), 0.1, None),
        (
            view(DOWN, replace(STANDBY, last_replay_at=NOW - 50, receiver=replace(RECEIVER, latest_end_lsn=2000))),
            want(),
            50,
            None,
        ),
    ],
)
def test_expected_loss(seen: DatabaseView, request_: Request, seconds: float, count: int | None) -> None:
    loss = decide.expected_loss(seen, judge(seen, "east"), request_)
    assert loss.seconds == pytest.approx(seconds)
    assert loss.bytes == count


@pytest.mark.parametrize(
    ("age_then", "age_later", "alive"),
    [(0.05, 0.1, True), (0.05, 1.6, None), (2.0, 3.5, None), (None, None, None)],
)
def test_a_standby_is_a_witness_by_what_it_hears_after_we_asked(
    age_then: float | None, age_later: float | None, alive: bool | None
) -> None:
    first = replace(STANDBY, receiver=replace(RECEIVER, message_age_seconds=age_then))
    later = replace(STANDBY, asked_at=NOW + 1.5, receiver=replace(RECEIVER, message_age_seconds=age_later))
    found = observe.peer_evidence("west", [first], {"east": later})
    assert [item.alive for item in found] == [alive]


def test_a_lost_loss_says_how_it_may_be_smaller() -> None:
    seen = view(DOWN, replace(ORPHAN, last_replay_at=NOW - 61), evidence=LOST)
    words = [g.next_action or "" for g in decide.confirmation_gates(seen, judge(seen, "east"), want()) if g.refuses]
    assert "recovery_detected_at" in words[0]
    known = decide.confirmation_gates(seen, judge(seen, "east"), want(failed_at=NOW))
    assert not any("recovery_detected_at" in (gate.next_action or "") for gate in known)


def test_received_log_counts_as_held() -> None:
    state = replace(STANDBY, receive_lsn=2000, replay_lsn=500)
    assert (state.position, state.unreplayed_bytes) == (2000, 1500)


def test_an_unprotected_primary_is_called_so() -> None:
    seen = view(DOWN, PROMOTED)
    lines, actions, protected = decide.replication_lines(seen, judge(seen, "east"))
    assert not protected
    assert "unprotected" in lines[-1]
    assert "rejoin west" in actions[0]
    seen = view(PRIMARY, STANDBY)
    assert decide.replication_lines(seen, judge(seen, "west"))[2]


def test_the_way_back_depends_on_the_proof() -> None:
    seen = view(DOWN, PROMOTED)
    verdict = judge(seen, "east")
    lines, actions = decide.rejoin_lines(seen, verdict, {"west": "stopped"}, 4096)
    assert lines[0] == "west is stopped and masked"
    assert "0/1000" in lines[1]
    # To protect the new primary now, or to return as well.
    assert all(
        f"database_failback -e recovery_target={name} " in text
        for name, text in zip(("east", "west"), actions, strict=True)
    )
    lines, actions = decide.rejoin_lines(seen, verdict, {"west": "statement"}, None)
    assert "not proven" in lines[0]
    assert "before west gets its network back" in actions[0]


@pytest.mark.parametrize("text", ["0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF"])
def test_positions(text: str) -> None:
    assert format_lsn(parse_lsn(text)) == text
    assert parse_lsn(None) is None


def test_figures_are_for_people() -> None:
    assert [shown_bytes(n) for n in (None, 0, 1023, 1024, 3 * MIB)] == [
        "unknown",
        "0 B",
        "1023 B",
        "1.0 KiB",
        "3.0 MiB",
    ]
    assert [shown_seconds(n) for n in (None, 0.25, 180, 9000)] == ["unknown", "0.2 s", "3.0 min", "2.5 h"]
