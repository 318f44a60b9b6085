# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at every member at once, through every channel there is. Nothing here changes anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .. import clock, edge, service_manager
from .client import ServerError, Session
from .model import (
    Attached,
    Credentials,
    DatabaseView,
    Evidence,
    Known,
    Member,
    MemberState,
    Receiver,
    Slot,
    parse_lsn,
)
from .provided import Provider

ROOM_SECONDS = 3.0

# One question, one round trip. The control file knows a timeline only from the next checkpoint on: a primary's is that
# of the file it writes into, a standby's the highest that it received. The CASEs keep functions from servers where they
# fail.
QUESTION = """
SELECT json_build_object(
  'in_recovery', pg_is_in_recovery(),
  'system_identifier', (SELECT system_identifier::text FROM pg_control_system()),
  'timeline', CASE WHEN pg_is_in_recovery() THEN greatest(
      (SELECT timeline_id FROM pg_control_checkpoint()),
      (SELECT min_recovery_end_timeline FROM pg_control_recovery()),
      (SELECT received_tli FROM pg_stat_wal_receiver),
      (SELECT max(('x' || left(name, 8))::bit(32)::int) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'))
    ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END,
  'current_lsn', CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_current_wal_lsn() END,
  'receive_lsn', pg_last_wal_receive_lsn(),
  'replay_lsn', CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() END,
  'last_replay_at', extract(epoch FROM pg_last_xact_replay_timestamp()),
  'checkpoint_at', (SELECT extract(epoch FROM checkpoint_time) FROM pg_control_checkpoint()),
  'asked_at', extract(epoch FROM clock_timestamp()),
  'replay_paused', CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END,
  'receiver', (SELECT json_build_object(
      'status', status, 'timeline', received_tli, 'flushed_lsn', flushed_lsn, 'latest_end_lsn', latest_end_lsn,
      'message_age_seconds', extract(epoch FROM clock_timestamp() - last_msg_receipt_time),
      'sender_host', sender_host, 'sender_port', sender_port, 'slot', slot_name)
    FROM pg_stat_wal_receiver LIMIT 1),
  'attached', (SELECT coalesce(json_agg(json_build_object(
      'application_name', application_name, 'client_address', host(client_addr), 'state', state,
      'sync_state', sync_state, 'sent_lsn', sent_lsn, 'replay_lsn', replay_lsn)), '[]'::json)
    FROM pg_stat_replication),
  'slots', (SELECT coalesce(json_agg(json_build_object(
      'name', slot_name, 'kind', slot_type, 'active', active, 'restart_lsn', restart_lsn,
      'wal_status', wal_status)), '[]'::json)
    FROM pg_replication_slots),
  'settings', (SELECT json_object_agg(name, setting) FROM pg_settings WHERE name IN (
      'default_transaction_read_only', 'synchronous_standby_names', 'wal_retrieve_retry_interval',
      'recovery_min_apply_delay', 'data_directory', 'server_version_num')))
"""

# Eighteen MiB spill into a temporary file: what a promotion needs (a new WAL segment is a copy of the last one) and
# a little more. The server removes it by itself, also after a crash. Nothing is sorted: that took three times as long.
ROOM_QUESTION = """
SET work_mem = '64kB';
WITH spilled AS MATERIALIZED (SELECT repeat('x', 1048576) AS filler FROM generate_series(1, 18))
SELECT count(filler) FROM spilled
"""


def look_at(session: Session) -> MemberState:
    """Ask one member everything. Being out of reach is an answer."""
    member = session.member
    try:
        answer = session.value(QUESTION)
    except ServerError as error:
        return unreachable(member, error)
    return state_from(member, answer)


def unreachable(member: Member, error: ServerError) -> MemberState:
    """Describe a member that could not be asked."""
    return MemberState(
        name=member.name, endpoint=member.endpoint, reachable=False, why_not=error.detail, cause=error.cause
    )


def state_from(member: Member, answer: Mapping[str, Any]) -> MemberState:
    """Read the answer to the question."""
    settings = answer["settings"] or {}
    receiver = answer["receiver"]
    return MemberState(
        name=member.name,
        endpoint=member.endpoint,
        reachable=True,
        in_recovery=answer["in_recovery"],
        system_identifier=answer["system_identifier"],
        timeline=answer["timeline"],
        current_lsn=parse_lsn(answer["current_lsn"]),
        receive_lsn=parse_lsn(answer["receive_lsn"]) if answer["in_recovery"] else None,
        replay_lsn=parse_lsn(answer["replay_lsn"]),
        last_replay_at=answer["last_replay_at"] if answer["in_recovery"] else None,
        checkpoint_at=answer["checkpoint_at"] if answer["in_recovery"] else None,
        asked_at=answer["asked_at"],
        replay_paused=answer["replay_paused"],
        receiver=receiver_from(receiver) if receiver and receiver.get("status") else None,
        attached=tuple(attached_from(row) for row in answer["attached"]),
        slots=tuple(
            Slot(row["name"], row["kind"], row["active"], parse_lsn(row["restart_lsn"]), row["wal_status"])
            for row in answer["slots"]
        ),
        apply_delay_seconds=int(settings.get("recovery_min_apply_delay") or 0) / 1000,
        read_only=settings.get("default_transaction_read_only") == "on",
        synchronous_standby_names=settings.get("synchronous_standby_names") or "",
        retry_interval_seconds=int(settings.get("wal_retrieve_retry_interval") or 0) / 1000,
        version=int(settings.get("server_version_num") or 0),
        data_directory=settings.get("data_directory"),
    )


def receiver_from(row: Mapping[str, Any]) -> Receiver:
    """Read a row of pg_stat_wal_receiver."""
    return Receiver(
        status=row["status"],
        timeline=row["timeline"],
        flushed_lsn=parse_lsn(row["flushed_lsn"]),
        latest_end_lsn=parse_lsn(row["latest_end_lsn"]),
        message_age_seconds=row["message_age_seconds"],
        sender_host=row["sender_host"],
        sender_port=row["sender_port"],
        slot=row["slot"],
    )


def attached_from(row: Mapping[str, Any]) -> Attached:
    """Read a row of pg_stat_replication."""
    return Attached(
        application_name=row["application_name"] or "",
        state=row["state"] or "unknown",
        sync_state=row["sync_state"] or "unknown",
        client_address=row["client_address"],
        sent_lsn=parse_lsn(row["sent_lsn"]),
        replay_lsn=parse_lsn(row["replay_lsn"]),
    )


def room_problem(session: Session) -> str | None:
    """Say what keeps a server from writing temporary files, if anything does. No answer is no problem of this kind."""
    error = room_error(session)
    return error.detail if error and error.cause == "disk_full" else None


def room_error(session: Session) -> ServerError | None:
    """Have a server write temporary files; gives what went wrong."""
    try:
        session.run(ROOM_QUESTION, seconds=ROOM_SECONDS)
    except ServerError as error:
        return error
    finally:
        session.close()
    return None


def look(
    members: Mapping[str, Member],
    credentials: Credentials,
    *,
    connect_seconds: float,
    statement_seconds: float,
    again: str | None = None,
) -> dict[str, MemberState]:
    """Ask all members at once. The one named by `again` gets a second try when it is silent: all depends on it."""

    def ask(member: Member) -> MemberState:
        session = Session(member, credentials, connect_seconds=connect_seconds, statement_seconds=statement_seconds)
        try:
            state = look_at(session)
            return look_at(session) if member.name == again and state.cause == "timeout" else state
        finally:
            session.close()

    with ThreadPoolExecutor(max_workers=min(32, max(1, len(members)))) as pool:
        return {state.name: state for state in pool.map(ask, members.values())}


def witnesses(
    members: Mapping[str, Member],
    states: Mapping[str, MemberState],
    *,
    target: str,
    managers: Iterable[Evidence],
    look_again: Callable[[Mapping[str, Member]], Mapping[str, MemberState]],
) -> tuple[Evidence, ...]:
    """Collect what SQL, the peers and the service managers say about each member that may hold a primary.

    A service manager is a witness for a member that SQL does not reach, and for no other.
    """
    doubtful = [name for name, state in states.items() if name != target and not state.is_standby]
    silent = [name for name in doubtful if not states[name].reachable]
    managers = [item for item in managers if item.member in silent]
    hosts = {item.member for item in managers if item.alive is not None}
    evidence = [sql_evidence(states[name], host_answers=name in hosts) for name in doubtful]
    fed = {name: members[name] for name, state in states.items() if silent and state.streaming}
    later = look_again(fed) if fed else {}
    for name in silent:
        evidence += peer_evidence(name, states.values(), later)
    return (*evidence, *managers)


def sql_evidence(state: MemberState, *, host_answers: bool) -> Evidence:
    """Say what the operator's own connection shows.

    Silence alone may as well be the network between: it tells of the server only where its host is known to answer.
    """
    seen = "answers as primary" if state.is_primary else (state.why_not or "answers")
    if state.cause == "timeout" and not host_answers:
        return Evidence("sql", state.name, f"{seen}, and its host does not answer either")
    return Evidence("sql", state.name, seen, state.answers)


def peer_evidence(name: str, states: Iterable[MemberState], later: Mapping[str, MemberState]) -> list[Evidence]:
    """Say what the standbys hear from the primary that cannot be reached.

    A message that came in after the first look is the word of a primary that works: `later` holds the second look at
    the same standbys, taken once our own connection had failed.
    """
    found = []
    for state in states:
        if not state.is_standby or state.name == name:
            continue
        receiver = state.receiver
        if receiver is None:
            found.append(Evidence(f"standby {state.name}", name, "its replication connection is gone", False))
            continue
        now = later.get(state.name)
        if now is not None and state.asked_at is not None and heard_at(now) > state.asked_at:
            seen = f"its receiver is {receiver.status}, and the primary's messages go on"
            found.append(Evidence(f"standby {state.name}", name, seen, True))
            continue
        last = heard_at(state)
        seen = f"its receiver is {receiver.status}, with no new message"
        since = clock.stamp(last) if last else None
        found.append(Evidence(f"standby {state.name}", name, seen, since=since))
    return found


def heard_at(state: MemberState) -> float:
    """Give when a standby got the last message of its primary, by the standby's own clock. 0 is never."""
    age = state.receiver.message_age_seconds if state.streaming and state.receiver else None
    return 0.0 if age is None or state.asked_at is None else state.asked_at - age


def manager_evidence(provider: Provider | None, members: Sequence[Member], seconds: float) -> list[Evidence]:
    """Ask whatever runs these members."""
    return provider_evidence(provider, members, seconds) if provider else service_manager_evidence(members, seconds)


def service_manager_evidence(members: Iterable[Member], seconds: float) -> list[Evidence]:
    """Ask the service managers of these members, all at once."""
    asked = [member for member in members if member.fence.method != "none"]
    if not asked:
        return []
    with ThreadPoolExecutor(max_workers=len(asked)) as pool:
        statuses = pool.map(lambda member: service_manager.status(member.fence, seconds=seconds), asked)
        return [
            Evidence("service manager", member.name, status.observed, status.alive, fenced=status.fenced)
            for member, status in zip(asked, statuses, strict=True)
        ]


def stepped_down(
    provider: Provider | None, states: Mapping[str, MemberState], target: str, seconds: float
) -> list[Evidence]:
    """Find who handed over to nobody yet: a run was cut short there, and all members are standbys."""
    if provider is None or any(state.is_primary for state in states.values()):
        return []
    standbys = [name for name, state in states.items() if name != target and state.is_standby]
    told = {name: provider.stepped_down(name, seconds=seconds) for name in standbys}
    return [Evidence("service manager", name, words, False, fenced=True) for name, words in told.items() if words]


def provider_evidence(provider: Provider, members: Sequence[Member], seconds: float) -> list[Evidence]:
    """Ask what runs these members. It knows whether they are fenced; whether they live, only where it governs hosts."""
    with ThreadPoolExecutor(max_workers=max(1, len(members))) as pool:
        statuses = pool.map(lambda member: provider.status(member.name, seconds=seconds), members)
        return [
            Evidence(
                "service manager",
                member.name,
                status.observed,
                status.alive if provider.manages_hosts else False if status.fenced else None,
                fenced=status.fenced,
            )
            for member, status in zip(members, statuses, strict=True)
        ]


def edge_evidence(
    answers: Mapping[str, Sequence[edge.Health]],
    members: Mapping[str, Member],
    suspects: Iterable[str],
    source: str | None,
) -> list[Evidence]:
    """Say what clients see at each edge: a service that works with its database now, or none that does.

    A service that works with a server which we see as a standby ourselves says nothing of the primary.
    """
    may_be_primary = {members[name].host: name for name in suspects}
    found = []
    for name, healths in answers.items():
        for health in healths:
            host = str((health.database or {}).get("host"))
            member = may_be_primary.get(host) if host in {m.host for m in members.values()} else source
            if works(health) and member:
                seen = f"{health.path} works with its database {host}"
                found.append(Evidence(f"edge {name}", member, seen, True))
                break
        else:
            if source:
                failed = any(fails(health) for health in healths)
                found.append(Evidence(f"edge {name}", source, edge_words(healths), False if failed else None))
    return found


def works(health: edge.Health) -> bool:
    """Say whether a service has just asked a primary and got an answer. A bare 200 says nothing of the database."""
    return health.status == 200 and bool(health.database) and not (health.database or {}).get("in_recovery")


def fails(health: edge.Health) -> bool:
    """Say whether the edge took the request, and the service or its database did not do its part."""
    return health.taken and (health.status is None or health.status >= 500)


def edge_words(healths: Sequence[edge.Health]) -> str:
    """Count the answers of an edge behind which no service was seen to work with a primary."""
    words = Counter(health.trouble or f"status {health.status}" for health in healths)
    return "; ".join(f"{count} of {len(healths)} services: {text}" for text, count in words.items())


def remember(states: Mapping[str, MemberState], known: Known | None) -> Known | None:
    """Give the primary as it is seen now, or else as it was last seen."""
    for state in states.values():
        if state.is_primary and state.system_identifier:
            return Known(state.name, state.system_identifier, state.timeline, state.current_lsn, state.asked_at)
    return known


def view_of(
    states: Mapping[str, MemberState], evidence: Iterable[Evidence] = (), known: Known | None = None
) -> DatabaseView:
    """Put it together."""
    return DatabaseView(members=dict(states), evidence=tuple(evidence), known=known)
