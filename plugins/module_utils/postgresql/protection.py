# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a standby protects its primary: it streams, over TLS, by its slot, and the log is archived."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import StepFailed, StepTimeout
from ..waiting import wait_until
from .client import Session
from .conninfo import WEAK
from .model import Member, MemberState, parse_lsn, shown_bytes
from .rejoin import Primary, slot_name

POLL_SECONDS = 0.05
SLOT_SECONDS = 10.0

SLOT_QUESTION = "SELECT slot_type, active_pid, wal_status FROM pg_replication_slots WHERE slot_name = %s"
FOLLOWER_QUESTION = """
SELECT r.state, r.application_name, coalesce(s.ssl, false), s.version, s.cipher, l.slot_name,
  greatest(0, pg_wal_lsn_diff(pg_current_wal_lsn(), r.replay_lsn))::bigint
FROM pg_replication_slots AS l JOIN pg_stat_replication AS r ON r.pid = l.active_pid
LEFT JOIN pg_stat_ssl AS s ON s.pid = r.pid WHERE l.slot_name = %s
"""
ARCHIVER_QUESTION = """
SELECT current_setting('archive_mode'), a.last_archived_wal, a.last_failed_wal,
  coalesce(a.last_failed_time > coalesce(a.last_archived_time, '-infinity'), false) FROM pg_stat_archiver AS a
"""
WAITING_QUESTION = "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name = %s || '.ready'"
# Only a drain sets this, and only in this file.
DRAINED_QUESTION = """
SELECT count(*) FROM pg_file_settings
WHERE name = 'default_transaction_read_only' AND setting = 'on' AND sourcefile LIKE '%postgresql.auto.conf'
"""


def streams(state: MemberState, primary: Primary) -> bool:
    """Say whether a member is fed by the present primary: same database, same timeline."""
    return (
        state.is_standby
        and state.system_identifier == primary.system_identifier
        and state.receiver is not None
        and state.receiver.status == "streaming"
        and state.receiver.timeline == primary.line.timeline
    )


def standing(state: MemberState) -> str:
    """Say how a member stands."""
    if not state.reachable:
        return state.why_not or "it does not answer"
    receiver = state.receiver
    seen = f"its receiver is {receiver.status} on timeline {receiver.timeline}" if receiver else "it has no receiver"
    return f"it answers as {'standby' if state.in_recovery else 'primary'}, {seen}"


def lag(session: Session, state: MemberState) -> int:
    """Give how far a standby's replay is behind the primary."""
    now = parse_lsn(session.value("SELECT pg_current_wal_lsn()::text")) or 0
    return max(0, now - (state.replay_lsn or 0))


def provide_slot(session: Session, name: str, member: str, *, free: bool = False) -> bool:
    """Make sure that the primary keeps log for a member. A slot whose log is lost is of no use and is made anew.

    With `free`, whatever still holds it is let go: the member is proven stopped, so that only a connection which has
    not noticed yet can be there. Gives whether anything changed.
    """
    rows = session.rows(SLOT_QUESTION, [name])
    if rows and rows[0][0] != "physical":
        raise StepFailed(
            f"The slot {name} that {member} is to use is a logical one",
            wanted="a physical slot, or none of that name",
            observed=f"{session.member.name} has a logical slot {name}",
            next_action=f"give {member} another primary_slot_name, then run again",
        )
    if rows and free and rows[0][1] is not None:
        session.run("SELECT pg_terminate_backend(%s)", [rows[0][1]])
        wait_until(
            lambda: session.rows(SLOT_QUESTION, [name])[0][1] is None,
            seconds=SLOT_SECONDS,
            interval=POLL_SECONDS,
            describe=f"the slot {name} to be free",
        )
    if rows and rows[0][2] == "lost":
        session.run("SELECT pg_drop_replication_slot(%s)", [name])
        rows = []
    if not rows:
        session.run("SELECT pg_create_physical_replication_slot(%s, true)", [name])
    return not rows


class Protection:
    """The last part of a return: nothing left over, and everything proven."""

    def __init__(
        self,
        sql: Session,
        own_sql: Session,
        primary: Primary,
        member: Member,
        leader: Member,
        members: Sequence[str],
    ) -> None:
        self.sql = sql
        self.own_sql = own_sql
        self.primary = primary
        self.member = member
        self.leader = leader
        self.members = members
        self.lines: list[str] = []

    def own_slot(self) -> str:
        """Give the slot that the member streams by."""
        return str(self.own_sql.value("SHOW primary_slot_name") or "")

    def remove_leftovers(self) -> list[str]:
        """Drop slots that nobody can use: a standby's for its own primary, and a primary's for itself."""
        own = self.own_slot()
        of_primary = {slot_name(self.primary.slot, self.primary.name), slot_name("", self.primary.name)}
        on_standby = of_primary | {own, slot_name("", self.member.name)} | {slot_name("", n) for n in self.members}
        lines = []
        for session, names in ((self.sql, of_primary - {own}), (self.own_sql, on_standby)):
            for name in self.idle_slots(session, names):
                session.run("SELECT pg_drop_replication_slot(%s)", [name])
                lines.append(f"the orphaned slot {name} on {session.member.name} is removed")
        return lines

    def idle_slots(self, session: Session, names: set[str]) -> list[str]:
        """Name the physical slots of these names that nobody uses."""
        statement = (
            "SELECT slot_name FROM pg_replication_slots "
            "WHERE slot_type = 'physical' AND NOT active AND slot_name = ANY (%s) ORDER BY 1"
        )
        return [row[0] for row in session.rows(statement, [sorted(names - {""})])]

    def restore_settings(self) -> list[str]:
        """Take back what a drain set and could not undo."""
        if not self.own_sql.value(DRAINED_QUESTION):
            return []
        self.own_sql.run("ALTER SYSTEM RESET default_transaction_read_only")
        self.own_sql.run("SELECT pg_reload_conf()")
        return [f"default_transaction_read_only of {self.member.name} is back to what it was"]

    def prove(self, archive_seconds: float, seconds: float) -> dict[str, Any]:
        """Prove streaming, slot, TLS and archiving. Raises StepFailed."""
        slot = self.own_slot()
        row = self.follower(slot, seconds)
        state, name, ssl, version, cipher, _, behind = row
        if self.leader.sslmode not in WEAK and not ssl:
            raise StepFailed(
                f"{self.member.name} streams without TLS",
                wanted=f"TLS, as sslmode={self.leader.sslmode} of the platform description says",
                observed="pg_stat_ssl shows a plain connection",
                next_action=f"set sslmode in primary_conninfo of {self.member.name}, then run again",
                changed=True,
            )
        secured = f"{version} {cipher}" if ssl else "no TLS, as described"
        self.lines.append(
            f"{self.member.name} streams from {self.primary.name} by slot {slot}, {secured}, "
            f"{shown_bytes(behind)} behind"
        )
        archiving = self.archiving(archive_seconds)
        self.lines.append(f"archiving of {self.primary.name}: {archiving}")
        return {
            "state": state,
            "application_name": name,
            "slot": slot,
            "tls": bool(ssl),
            "tls_version": version,
            "lag_bytes": int(behind),
            "archiving": archiving,
        }

    def follower(self, slot: str, seconds: float) -> tuple[Any, ...]:
        """Give the member as the primary sees it."""

        def seen() -> tuple[Any, ...] | None:
            rows = self.sql.rows(FOLLOWER_QUESTION, [slot])
            return rows[0] if rows and rows[0][0] == "streaming" else None

        return wait_until(
            seen,
            seconds=seconds,
            interval=POLL_SECONDS,
            describe=f"{self.primary.name} to see {self.member.name} stream by slot {slot or '(none is set)'}",
            next_action=f"set primary_slot_name of {self.member.name}, then run again",
        ).value

    def archiving(self, seconds: float) -> str:
        """Say how archiving goes; with time given, wait until a segment has been archived."""
        mode, last, failed_wal, failing = self.sql.rows(ARCHIVER_QUESTION)[0]
        if mode == "off":
            return "off"
        if seconds:
            last = self.archive_one(seconds)
        elif failing:
            raise self.not_archived(f"its last try, {failed_wal}, failed")
        return f"works, last {last}"

    def archive_one(self, seconds: float) -> str:
        """Finish a segment and wait until it is archived."""
        wanted = self.sql.value("SELECT pg_walfile_name(pg_switch_wal())")

        def archived() -> bool:
            # The last archived name may be that of a backup or a history: what waits to be archived is the surer sign.
            return not self.sql.value(WAITING_QUESTION, [wanted])

        try:
            wait_until(archived, seconds=seconds, interval=POLL_SECONDS, describe=f"{wanted} to be archived")
        except StepTimeout as error:
            raise self.not_archived(f"{wanted} was not archived within {seconds:g} s") from error
        return str(wanted)

    def not_archived(self, seen: str) -> StepFailed:
        """Say that the log is not archived."""
        return StepFailed(
            f"{self.primary.name} does not archive its log",
            wanted="every segment is archived",
            observed=seen,
            next_action=f"repair archive_command of {self.primary.name} (its log says why it fails), then run again",
            changed=True,
        )
