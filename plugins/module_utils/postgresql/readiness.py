# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a database could be switched or failed over right now: what the gates ask, and what the steps would need.

The gates are those of a run, asked all at once. What no gate asks, because a run cannot change it any more (an archive
that fails, a slot that is missing), is asked here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from .. import service_manager
from ..readiness import FIRST, Check, Checklist
from ..service_manager import UnitStatus
from . import decide
from .client import ServerError, Session
from .decide import Gate, Request, Verdict
from .model import Credentials, DatabaseView, Member, MemberState, shown_seconds
from .provided import Provider, Remark

# The role whose work needs what is checked.
CONFIRMS, FENCES, PROMOTES, VERIFIES = "pg_observe", "pg_fence", "pg_promote", "data_integrity"
# What the guard beside a server asks of it, see roles/pg_fence/files/recovery-pg-guard.
GUARD_ASKS = "SELECT 'local ' || CASE WHEN pg_is_in_recovery()"
GUARD_QUESTION = r"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE starts_with(ltrim(query, E' \n\t'), %s))"
# An archiver takes a segment within a second; more than this many are waiting because it does not come along.
MOST_WAITING = 8
# What a server says of a question, and not of itself: that a database is missing is told as the login's refusal.
SAID = frozenset({"authentication", "permission", "other"})
SLOT_FINE = frozenset({None, "reserved", "extended"})

QUESTION = """
SELECT json_build_object(
  'superuser', (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
  'encrypted', (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()),
  'links', (SELECT coalesce(json_agg(coalesce(s.ssl, false)), '[]'::json)
    FROM pg_stat_replication r LEFT JOIN pg_stat_ssl s USING (pid)),
  'archiver', (SELECT json_build_object(
      'archived', archived_count, 'last_archived_at', extract(epoch FROM last_archived_time),
      'last_failed_at', extract(epoch FROM last_failed_time), 'last_failed', last_failed_wal)
    FROM pg_stat_archiver),
  'waiting', (SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'),
  'asked_at', extract(epoch FROM clock_timestamp()),
  'settings', (SELECT json_object_agg(name, setting) FROM pg_settings WHERE name IN (
      'wal_level', 'archive_mode', 'archive_command', 'archive_library', 'max_wal_senders',
      'max_replication_slots', 'wal_log_hints', 'data_checksums')))
"""
TABLES_QUESTION = "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass(name) IS NULL"


@dataclass(frozen=True)
class Equipment:
    """What a server has for its part in a recovery, beside what every look at it shows."""

    superuser: bool
    encrypted: bool
    links: tuple[bool, ...]
    settings: Mapping[str, str]
    waiting: int
    archived: int
    last_archived_at: float | None
    last_failed_at: float | None
    last_failed: str | None
    asked_at: float

    @property
    def archiver_fails(self) -> bool:
        """Say whether the last thing that the archiver did was to fail."""
        return self.last_failed_at is not None and self.last_failed_at >= (self.last_archived_at or 0.0)


Equipped = Mapping[str, "Equipment | ServerError"]


def equipment_from(answer: Mapping[str, Any]) -> Equipment:
    """Read the answer to the question."""
    archiver = answer["archiver"]
    return Equipment(
        superuser=bool(answer["superuser"]),
        encrypted=bool(answer["encrypted"]),
        links=tuple(answer["links"]),
        settings=answer["settings"] or {},
        waiting=answer["waiting"],
        archived=archiver["archived"],
        last_archived_at=archiver["last_archived_at"],
        last_failed_at=archiver["last_failed_at"],
        last_failed=archiver["last_failed"],
        asked_at=answer["asked_at"],
    )


def opened(member: Member, credentials: Credentials, connect_seconds: float, statement_seconds: float) -> Session:
    """Prepare a session; it opens where it is entered."""
    return Session(member, credentials, connect_seconds=connect_seconds, statement_seconds=statement_seconds)


def equipment(
    members: Mapping[str, Member], credentials: Credentials, *, connect_seconds: float, statement_seconds: float
) -> Equipped:
    """Ask all members at once."""

    def ask(member: Member) -> Equipment | ServerError:
        try:
            with opened(member, credentials, connect_seconds, statement_seconds) as session:
                return equipment_from(session.value(QUESTION))
        except ServerError as error:
            return error

    with ThreadPoolExecutor(max_workers=min(32, len(members))) as pool:
        return dict(zip(members, pool.map(ask, members.values()), strict=True))


def checks(
    name: str,
    members: Mapping[str, Member],
    view: DatabaseView,
    equipped: Equipped,
    want: Request,
    room: ServerError | None,
) -> list[Check]:
    """Judge a database. `want` is a switchover's request; the loss is judged as if the primary were lost now."""
    verdict = decide.judge(view, want.target)
    found: list[Check] = []
    for member in members.values():
        on = Checklist(CONFIRMS, f"{name} {member.name}")
        found += member_checks(on, member, view.members[member.name], equipped[member.name])
    found.append(primary_check(Checklist(CONFIRMS, name), view, verdict, want))
    found += target_checks(Checklist(PROMOTES, f"{name} {want.target}"), view, verdict, want, room)
    found += replication_checks(name, view, verdict, equipped, want.target)
    return found


def member_checks(on: Checklist, member: Member, state: MemberState, has: Equipment | ServerError) -> Iterator[Check]:
    """Say of one server whether we get in, as whom, and safely."""
    wanted = "the server answers our SQL"
    if not state.reachable:
        mend = f"start it, or correct its endpoint {state.endpoint} and its account in the platform description"
        yield on.judged("sql", False, f"it does not answer: {state.why_not}", wanted, mend)
    else:
        yield on.judged("sql", True, f"answers as {'standby' if state.in_recovery else 'primary'}", wanted, "")
    wanted = "a superuser, for it fences and promotes"
    mend = "name a superuser in the database's credentials"
    if isinstance(has, ServerError):
        unasked = f"it could not be asked: {has.detail}"
        yield on.judged("account", None, unasked, wanted, FIRST)
        yield on.judged("encryption", None, unasked, "a connection by TLS", FIRST)
        return
    yield on.judged("account", has.superuser, "a superuser" if has.superuser else "no superuser", wanted, mend)
    seen = f"by TLS, sslmode {member.sslmode}" if has.encrypted else "not encrypted"
    yield on.judged("encryption", has.encrypted, seen, "a connection by TLS", "set ssl on it, and sslmode verify-full")


def primary_check(on: Checklist, view: DatabaseView, verdict: Verdict, want: Request) -> Check:
    """Say whether there is one primary, and that it is not the target already."""
    wanted = f"one primary, which is not {want.target}"
    if verdict.standing == "split_brain":
        gate = decide.split_gate(verdict)
        return on.judged("one primary", False, gate.observed, wanted, gate.next_action or "")
    if verdict.standing == "converged":
        mend = f"{want.target} is primary: name as target the member that is to take over from it"
        return on.judged("one primary", False, f"{want.target} is the primary already", wanted, mend)
    mend = "bring the primary back; if it is lost, recover: recovery_mode=failover"
    good = verdict.standing == "healthy"
    return on.judged("one primary", good, decide.standing_words(view, verdict), wanted, mend)


def target_checks(
    on: Checklist, view: DatabaseView, verdict: Verdict, want: Request, room: ServerError | None
) -> Iterator[Check]:
    """Ask of the target what every gate of a switchover and of a failover would."""
    target = view.members[want.target]
    if not target.is_standby:
        why = "it is the primary" if target.is_primary else "it does not answer"
        for check in ("lineage", "standby follows", "settings of the target", "room on the target", "expected loss"):
            yield on.judged(check, None, why, "a standby that answers", FIRST)
        return
    lost_now = Request(target=want.target, mode="failover", rpo_seconds=want.rpo_seconds)
    yield of_gate(on, decide.lineage_gate(view, verdict, target))
    yield of_gate(on, decide.following_gate(view, verdict, want))
    yield of_gate(on, decide.writable_gate(target))
    yield room_check(on, target, room)
    yield of_gate(on, decide.loss_gate(decide.expected_loss(view, verdict, lost_now), lost_now))


def room_check(on: Checklist, target: MemberState, error: ServerError | None) -> Check:
    """Say whether the target can write. Anything but a full disk says nothing about that."""
    gate = decide.room_gate(target, error.detail if error else "")
    good = True if error is None else False if error.cause == "disk_full" else None
    seen = "it can write" if error is None else gate.observed
    return on.judged(gate.gate, good, seen, gate.wanted, gate.next_action or "")


def of_gate(on: Checklist, gate: Gate) -> Check:
    """Give the check that a gate of a run stands for."""
    mend = gate.next_action or "remove what is observed"
    return on.judged(gate.gate, not gate.refuses, gate.observed, gate.wanted, mend)


def replication_checks(
    name: str, view: DatabaseView, verdict: Verdict, equipped: Equipped, target: str
) -> Iterator[Check]:
    """Say how the primary feeds the target and its archive, and whether the target could do so after it."""
    source = verdict.source or "primary"
    on, beside = Checklist(CONFIRMS, f"{name} {source}"), Checklist(CONFIRMS, f"{name} {target}")
    primary = view.members.get(verdict.primary or "") if verdict.standing == "healthy" else None
    has, next_one = equipped.get(source), equipped.get(target)
    yield slot_check(on, primary, view.members[target])
    yield link_check(on, has if primary else None)
    yield archive_check(on, "archive", has)
    yield archive_check(beside, "archive after a promotion", next_one, now=False)
    yield feeding_check(beside, next_one)


def slot_check(on: Checklist, primary: MemberState | None, target: MemberState) -> Check:
    """See that the primary keeps for the target what it has not sent yet."""
    wanted = "the target streams by a slot that is active and has lost nothing"
    mend = f"make a replication slot on the primary, and set primary_slot_name on {target.name}"
    if primary is None or target.receiver is None:
        return on.judged("replication slot", None, "the target is fed by no primary that answers", wanted, FIRST)
    slot = next((item for item in primary.slots if item.name == target.receiver.slot), None)
    if slot is None:
        return on.judged("replication slot", False, f"{target.name} streams without a slot", wanted, mend)
    good = slot.active and slot.wal_status in SLOT_FINE
    seen = f"{slot.name} is {'active' if slot.active else 'not active'}, wal_status {slot.wal_status or 'unknown'}"
    return on.judged("replication slot", good, seen, wanted, f"let {target.name} catch up, or rebuild it")


def link_check(on: Checklist, has: Equipment | ServerError | None) -> Check:
    """See that replication is encrypted."""
    wanted, mend = "every replication connection by TLS", "set sslmode=verify-full in the standby's primary_conninfo"
    if not isinstance(has, Equipment) or not has.links:
        return on.judged("replication encryption", None, "no standby is attached to be looked at", wanted, FIRST)
    seen = f"{sum(has.links)} of {len(has.links)} replication connections by TLS"
    return on.judged("replication encryption", all(has.links), seen, wanted, mend)


def archive_check(on: Checklist, check: str, has: Equipment | ServerError | None, *, now: bool = True) -> Check:
    """See that the write-ahead log is archived; of a standby, that it would be."""
    wanted = "archive_mode on, a command or library that does it" + (", and nothing that fails or waits" if now else "")
    mend = "set archive_mode and archive_command (or archive_library), and look at the server's log"
    if not isinstance(has, Equipment):
        return on.judged(check, None, "it could not be asked", wanted, FIRST)
    how = has.settings.get("archive_library") or has.settings.get("archive_command")
    if has.settings.get("archive_mode") not in ("on", "always") or how in (None, "", "(disabled)"):
        seen = f"archive_mode {has.settings.get('archive_mode')}" + ("" if how else ", nothing that archives is set")
        return on.judged(check, False, seen, wanted, mend)
    if not now:
        return on.judged(check, True, f"archive_mode {has.settings['archive_mode']}", wanted, mend)
    if has.archiver_fails:
        return on.judged(check, False, f"archiving {has.last_failed} failed, {has.waiting} wait", wanted, mend)
    last = "none yet" if has.last_archived_at is None else f"{shown_seconds(has.asked_at - has.last_archived_at)} ago"
    seen = f"{has.archived} segments archived, the last {last}, {has.waiting} wait"
    return on.judged(check, has.waiting <= MOST_WAITING, seen, wanted, mend)


def feeding_check(on: Checklist, has: Equipment | ServerError | None) -> Check:
    """See that the target could feed a standby, and take the old primary back, once it is promoted."""
    wanted = "wal_level replica, room for senders and slots, wal_log_hints or data checksums for a rewind"
    mend = "set wal_level, max_wal_senders, max_replication_slots and wal_log_hints as they are on the primary"
    if not isinstance(has, Equipment):
        return on.judged("settings for its own standbys", None, "it could not be asked", wanted, FIRST)
    names = ("wal_level", "max_wal_senders", "max_replication_slots", "wal_log_hints", "data_checksums")
    settings = {name: has.settings.get(name) for name in names}
    feeds = settings["wal_level"] in ("replica", "logical")
    room = all(int(settings[name] or 0) > 0 for name in ("max_wal_senders", "max_replication_slots"))
    rewinds = "on" in (settings["wal_log_hints"], settings["data_checksums"])
    seen = ", ".join(f"{name} {value}" for name, value in settings.items())
    return on.judged("settings for its own standbys", feeds and room and rewinds, seen, wanted, mend)


@dataclass(frozen=True)
class Channel:
    """How a member's host answers: its service manager, whether we may use it, and the guard beside the server."""

    unit: UnitStatus | None
    may_fence: bool | None
    guarded: bool | None
    why_not: str = ""


def hosts_of(member: Member) -> dict[str, Member]:
    """Give the hosts of a member by what they are called: one, or those of the nodes that Patroni runs."""
    if member.patroni is None:
        return {member.name: member}
    return {f"{member.name} {node.name}": replace(member, fence=node.fence) for node in member.patroni.nodes}


def remarks(provider: Provider | None, members: Mapping[str, Member], seconds: float) -> dict[str, Sequence[Remark]]:
    """Have what runs the database examine each member."""
    if provider is None:
        return {}
    with ThreadPoolExecutor(max_workers=min(32, len(members))) as pool:
        found = pool.map(lambda name: provider.examine(name, seconds=seconds), members)
        return dict(zip(members, found, strict=True))


def channels(
    members: Mapping[str, Member],
    credentials: Credentials,
    *,
    connect_seconds: float,
    statement_seconds: float,
    provider: Provider | None = None,
) -> dict[str, Channel]:
    """Ask all hosts and servers at once."""

    def ask(member: Member) -> Channel:
        if provider and not provider.manages_hosts:
            return Channel(provider.status(member.name, seconds=connect_seconds + 1), None, None)
        unit, allowed = None, None
        if member.fence.method == "systemd":
            unit = service_manager.status(member.fence, seconds=connect_seconds + 1)
            if unit.answered and member.fence.sudo:
                allowed = service_manager.may_fence(member.fence, seconds=connect_seconds + 1)
        if provider:
            return Channel(unit, allowed, None)
        try:
            with opened(member, credentials, connect_seconds, statement_seconds) as session:
                return Channel(unit, allowed, bool(session.value(GUARD_QUESTION, [GUARD_ASKS])))
        except ServerError as error:
            return Channel(unit, allowed, None, error.detail)

    hosts = {host: at for member in members.values() for host, at in hosts_of(member).items()}
    with ThreadPoolExecutor(max_workers=min(32, len(hosts))) as pool:
        return dict(zip(hosts, pool.map(ask, hosts.values()), strict=True))


def fence_checks(
    name: str,
    members: Mapping[str, Member],
    found: Mapping[str, Channel],
    remarked: Mapping[str, Sequence[Remark]],
) -> Iterator[Check]:
    """Say whether each member could be fenced: the target too, for it is the next one."""
    for member in members.values():
        on = Checklist(FENCES, f"{name} {member.name}")
        for remark in remarked.get(member.name, ()):
            yield on.judged(remark.check, remark.good, remark.observed, remark.wanted, remark.mend)
        for host, at in hosts_of(member).items():
            yield from host_checks(Checklist(FENCES, f"{name} {host}"), at, found[host])


def host_checks(on: Checklist, member: Member, channel: Channel) -> Iterator[Check]:
    """Say whether what runs on one host could be fenced."""
    if member.resource or member.rds:
        yield provider_check(on, channel)
        return
    yield manager_check(on, member, channel)
    if channel.may_fence is not None:
        seen = "sudo allows it" if channel.may_fence else "sudo does not allow it without a password"
        mend = f"allow {member.fence.user or 'the account'} systemctl mask, kill and stop of {member.fence.unit}"
        yield on.judged("right to fence", channel.may_fence, seen, "systemctl mask, kill and stop by sudo -n", mend)
    if member.patroni:
        return  # a guard would work against Patroni, which starts what the guard stops
    wanted = "recovery-pg-guard asks the server whether it is stale"
    mend = "start roles/pg_fence/files/recovery-pg-guard beside it, with every peer named"
    seen = {True: "it runs", False: "nothing asks", None: f"cannot be seen: {channel.why_not}"}[channel.guarded]
    yield on.judged("guard", channel.guarded, seen, wanted, mend)


def provider_check(on: Checklist, channel: Channel) -> Check:
    """See that what runs the member could fence it, and has not fenced it already."""
    unit = channel.unit
    good = unit is not None and unit.answered and not unit.fenced
    mend = "let this controller reach its API and patch it; for RDS, describe a quarantine_security_group"
    seen = unit.observed if unit else "was not asked"
    return on.judged("provider", good, seen, "its API answers for it, and it is not fenced", mend)


def manager_check(on: Checklist, member: Member, channel: Channel) -> Check:
    """See that the service manager answers for a unit that runs."""
    wanted = "the host answers by ssh, and its service manager names the unit, running and not masked"
    unit = channel.unit
    if unit is None:
        mend = f"describe members.{member.name}.fence: without it only an operator's statement proves it down"
        return on.judged("service manager", False, "no channel is described", wanted, mend)
    mend = f"see that {member.fence.unit} is the unit, and runs: recovery stops it by mask, kill and stop"
    if not unit.answered:
        mend = f"let ssh in to {member.fence.host}:{member.fence.port} as {member.fence.user}: host key, account, key"
    good = bool(unit.alive) and unit.unit_file not in ("masked", "masked-runtime")
    return on.judged("service manager", good, unit.observed, wanted, mend)


def table_checks(name: str, session: Session, tables: list[str]) -> list[Check]:
    """See that the tables are there whose rows are verified after a recovery."""
    on = Checklist(VERIFIES, f"{name} {session.member.name}")
    wanted = f"the database {session.database} with {', '.join(tables) or 'any table'}"
    mend = "correct database and tables in the platform description"
    try:
        missing = [row[0] for row in session.rows(TABLES_QUESTION, [tables])]
    except ServerError as error:
        return [on.judged("tables", False if error.cause in SAID else None, error.detail, wanted, mend)]
    seen = f"missing: {', '.join(missing)}" if missing else f"all {len(tables)} tables are there"
    return [on.judged("tables", not missing, seen, wanted, mend)]
