# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every check of a database, as a table of what is seen and what it comes to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.postgresql import readiness
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.client import ServerError
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.decide import Request
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.model import (
    DatabaseView,
    Fence,
    Member,
    MemberState,
    Receiver,
    Slot,
)
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.readiness import Channel, Equipment
from ansible_collections.platform.recovery.plugins.module_utils.readiness import Check, Verdict
from ansible_collections.platform.recovery.plugins.module_utils.service_manager import UnitStatus

ROOT = Path(__file__).resolve().parents[3]
NOW = 1_000_000.0
FENCE = Fence("systemd", "h", unit="postgresql")
WEST, EAST = (Member(name, f"{name}.example.com", fence=FENCE) for name in ("west", "east"))
MEMBERS = {"west": WEST, "east": EAST}
ANSWER = {
    "superuser": True,
    "encrypted": True,
    "links": [True],
    "archiver": {"archived": 3, "last_archived_at": NOW - 60, "last_failed_at": None, "last_failed": None},
    "waiting": 0,
    "asked_at": NOW,
    "settings": {
        "wal_level": "replica",
        "archive_mode": "on",
        "archive_command": "cp",
        "max_wal_senders": "10",
        "max_replication_slots": "10",
        "wal_log_hints": "on",
        "data_checksums": "off",
    },
}
GOOD = readiness.equipment_from(ANSWER)


def state(name: str, *, standby: bool, **more: Any) -> MemberState:
    common = {"system_identifier": "7", "timeline": 1, "asked_at": NOW}
    return MemberState(name, f"{name}:5432", True, in_recovery=standby, **{**common, **more})


def receiver(slot: str | None = "east") -> Receiver:
    return Receiver("streaming", 1, flushed_lsn=1000, latest_end_lsn=1000, message_age_seconds=0.1, slot=slot)


SLOT = Slot("east", "physical", True, 1000, "reserved")
PRIMARY = state("west", standby=False, current_lsn=1000, slots=(SLOT,))
STANDBY = state("east", standby=True, receive_lsn=1000, replay_lsn=1000, receiver=receiver())
DOWN = MemberState("west", "west:5432", False, why_not="connection refused at west:5432", cause="refused")
SILENT = ServerError(WEST, "timeout", "no answer within 1.5 s at west:5432")
FULL = ServerError(EAST, "disk_full", "No space left on device")


def check(
    west: MemberState = PRIMARY,
    east: MemberState = STANDBY,
    *,
    has_west: Equipment | ServerError = GOOD,
    has_east: Equipment | ServerError = GOOD,
    room: ServerError | None = None,
    **wish: Any,
) -> list[Check]:
    view = DatabaseView({"west": west, "east": east})
    want = replace(Request("east", "switchover", 60), **wish)
    return readiness.checks("db", MEMBERS, view, {"west": has_west, "east": has_east}, want, room)


def found(checks: list[Check], verdict: Verdict) -> set[str]:
    return {f"{c.subject.removeprefix('db').strip()} {c.check}".strip() for c in checks if c.verdict == verdict}


def equipped(**changes: Any) -> Equipment:
    settings = {**ANSWER["settings"], **changes.pop("settings", {})}  # type: ignore[dict-item]
    return replace(GOOD, settings=settings, **changes)


def test_a_healthy_database_is_ready_in_everything() -> None:
    checks = check()
    assert found(checks, "ready") == {
        *(f"{member} {name}" for member in ("west", "east") for name in ("sql", "account", "encryption")),
        "one primary",
        *(f"east {name}" for name in ("lineage", "standby follows", "settings of the target", "expected loss")),
        *(f"east {name}" for name in ("room on the target", "archive after a promotion")),
        "east settings for its own standbys",
        *(f"west {name}" for name in ("replication slot", "replication encryption", "archive")),
    }
    assert len(found(checks, "ready")) == len(checks)
    assert all(c.mend is None and c.observed and c.wanted for c in checks)


@pytest.mark.parametrize(
    ("seen", "bad"),
    [
        ({"east": replace(STANDBY, system_identifier="8")}, "east lineage"),
        ({"east": replace(STANDBY, timeline=2)}, "east lineage"),
        ({"east": replace(STANDBY, replay_paused=True)}, "east standby follows"),
        ({"east": replace(STANDBY, read_only=True)}, "east settings of the target"),
        ({"east": replace(STANDBY, synchronous_standby_names="*")}, "east settings of the target"),
        ({"east": replace(STANDBY, receiver=receiver(None))}, "west replication slot"),
        ({"west": replace(PRIMARY, slots=(replace(SLOT, active=False),))}, "west replication slot"),
        ({"west": replace(PRIMARY, slots=(replace(SLOT, wal_status="lost"),))}, "west replication slot"),
        ({"room": FULL}, "east room on the target"),
        ({"has_west": equipped(superuser=False)}, "west account"),
        ({"has_east": equipped(encrypted=False)}, "east encryption"),
        ({"has_west": equipped(links=(True, False))}, "west replication encryption"),
        ({"has_west": equipped(settings={"archive_mode": "off"})}, "west archive"),
        ({"has_west": equipped(settings={"archive_command": ""})}, "west archive"),
        ({"has_west": equipped(last_failed_at=NOW)}, "west archive"),
        ({"has_west": equipped(waiting=9)}, "west archive"),
        ({"has_east": equipped(settings={"archive_mode": "off"})}, "east archive after a promotion"),
        ({"has_east": equipped(settings={"wal_level": "minimal"})}, "east settings for its own standbys"),
        ({"has_east": equipped(settings={"max_wal_senders": "0"})}, "east settings for its own standbys"),
        ({"has_east": equipped(settings={"wal_log_hints": "off"})}, "east settings for its own standbys"),
    ],
)
def test_one_thing_that_is_wrong_is_the_one_that_is_not_ready(seen: dict[str, Any], bad: str) -> None:
    checks = check(**seen)
    assert found(checks, "not_ready") == {bad}
    assert found(checks, "unknown") == set()
    assert all(c.mend for c in checks if c.verdict == "not_ready")


@pytest.mark.parametrize(
    "fine",
    [
        {"has_west": equipped(archived=0, last_archived_at=None)},
        {"has_west": equipped(last_failed_at=NOW - 90)},
        {"has_west": equipped(settings={"archive_command": "", "archive_library": "basic_archive"})},
        {"has_east": equipped(settings={"wal_log_hints": "off", "data_checksums": "on"})},
        {"east": replace(STANDBY, receive_lsn=900, replay_lsn=900, last_replay_at=NOW - 5)},
    ],
)
def test_what_only_looks_wrong_is_ready(fine: dict[str, Any]) -> None:
    checks = check(**fine)
    assert len(found(checks, "ready")) == len(checks)


def test_a_standby_that_is_behind_is_judged_as_if_the_primary_died_now() -> None:
    late = replace(STANDBY, receive_lsn=900, replay_lsn=900, last_replay_at=NOW - 90, receiver=None)
    assert "east expected loss" in found(check(east=late), "not_ready")
    assert "east expected loss" in found(check(east=late, rpo_seconds=120.0), "ready")


def test_a_primary_that_is_down_hides_no_other_check() -> None:
    checks = check(west=DOWN, has_west=SILENT)
    assert len(checks) == len(check())
    assert {"west sql", "one primary"} <= found(checks, "not_ready")
    assert {"west account", "west encryption", "west archive", "west replication slot"} <= found(checks, "unknown")
    assert "east archive after a promotion" in found(checks, "ready")


def test_a_target_that_is_down_or_primary_already_is_named() -> None:
    gone = MemberState("east", "east:5432", False, why_not="silent", cause="timeout")
    checks = check(east=gone, has_east=SILENT)
    assert len(checks) == len(check())
    assert found(checks, "not_ready") == {"east sql"}
    assert {"east lineage", "east room on the target", "east expected loss"} <= found(checks, "unknown")
    promoted = state("east", standby=False, current_lsn=1000)
    [told] = [c for c in check(west=DOWN, east=promoted, has_west=SILENT) if c.check == "one primary"]
    assert (told.verdict, "the primary already" in told.observed) == ("not_ready", True)


def test_a_room_that_cannot_be_measured_is_not_called_enough() -> None:
    assert found(check(room=ServerError(EAST, "timeout", "no answer")), "unknown") == {"east room on the target"}


RUNS = UnitStatus("postgresql is active and enabled", True, "active", "enabled", 1)
FINE = Channel(RUNS, None, True)


@pytest.mark.parametrize(
    ("channel", "member", "bad"),
    [
        (FINE, WEST, {}),
        (replace(FINE, may_fence=True), WEST, {}),
        (replace(FINE, may_fence=False), WEST, {"right to fence": "not_ready"}),
        (replace(FINE, guarded=False), WEST, {"guard": "not_ready"}),
        (replace(FINE, guarded=None, why_not="silent"), WEST, {"guard": "unknown"}),
        (replace(FINE, unit=UnitStatus("ssh failed", False)), WEST, {"service manager": "not_ready"}),
        (replace(FINE, unit=replace(RUNS, active="inactive")), WEST, {"service manager": "not_ready"}),
        (replace(FINE, unit=replace(RUNS, unit_file="masked")), WEST, {"service manager": "not_ready"}),
        (replace(FINE, unit=None), replace(WEST, fence=Fence()), {"service manager": "not_ready"}),
    ],
)
def test_the_way_to_a_fence(channel: Channel, member: Member, bad: dict[str, str]) -> None:
    checks = list(readiness.fence_checks("db", {"west": member}, {"west": channel}, {}))
    assert {c.check: c.verdict for c in checks if c.verdict != "ready"} == bad
    assert {c.role for c in checks} == {"pg_fence"}


def test_the_guard_is_known_by_what_it_asks() -> None:
    script = (ROOT / "roles/pg_fence/files/recovery-pg-guard").read_text()
    assert readiness.GUARD_ASKS.replace("local", "$1") in script
    assert 'watch local "$local"' in script
