# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make an old PostgreSQL primary a standby of the present one."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.errors import PreconditionFailed, StepTimeout
from ansible_collections.platform.recovery.plugins.module_utils.postgresql import observe, provided, rejoin_work, steps
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.client import Session
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.model import (
    Credentials,
    Member,
    MemberState,
    credentials_from,
    known_member,
    members_from,
)
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.rejoin import Plan, Primary
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.rejoin_work import (
    Outcome,
    Rejoin,
    RejoinRequest,
)
from ansible_collections.platform.recovery.plugins.module_utils.waiting import wait_until
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction

LISTS = "unreplicated"
FOLLOW_SECONDS = 0.1


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "postgresql_rejoin"
    MAPS = steps.MAPS

    def act(self, call: Call) -> dict[str, Any]:
        """Find the primary, look at every member that is to follow it, and take each of them back."""
        options = call.options
        if options["allow_data_loss"]:
            steps.require_reason(options, "allow_data_loss")
        members = members_from(options["members"])
        if options["target"]:
            known_member(members, options["target"], "target")
        credentials = credentials_from(options["credentials"])
        states = observe.look(
            members,
            credentials,
            connect_seconds=options["connect_seconds"],
            statement_seconds=options["statement_seconds"],
        )
        steps.refuse_bad_access(states)
        target = states.get(options["target"] or "")
        if target and target.is_standby and not any(state.is_primary for state in states.values()):
            # A failback that was cut short between the fence and the promotion.
            return nothing_to_follow(target)
        primary = present_primary(members, states, credentials, options)
        wanted = rejoin_work.followers(list(members), primary.name, options["target"])
        if provided.is_provided(members):
            with provided.provider_of(members, call.guard, credentials) as provider:
                seen = {name: followed(call, provider, members[name], states[name], primary) for name in wanted}
            return result(primary, [kept(members[name], state, primary) for name, state in seen.items()])
        request = request_from(call)
        outcomes = [one(call, members[name], members, primary, credentials, request) for name in wanted]
        return result(primary, outcomes)


def present_primary(
    members: Mapping[str, Member],
    states: Mapping[str, MemberState],
    credentials: Credentials,
    options: Mapping[str, Any],
) -> Primary:
    """Give the one primary. Raises PreconditionFailed."""
    found = [state for state in states.values() if state.is_primary]
    if len(found) != 1:
        seen = "; ".join(
            f"{name}: {'primary' if state.is_primary else 'standby' if state.is_standby else state.why_not}"
            for name, state in states.items()
        )
        raise PreconditionFailed(
            "There is no one primary to follow",
            wanted="exactly one member answers as primary",
            observed=seen,
            next_action="stop and mask the one that does not hold the writes that count, then run again"
            if found
            else "make a primary first: platform.recovery.database_failover",
            gate="one primary",
        )
    limits = {"connect_seconds": options["connect_seconds"], "statement_seconds": options["statement_seconds"]}
    with Session(members[found[0].name], credentials, **limits) as session:
        return rejoin_work.primary_from(session, found[0])


def nothing_to_follow(target: MemberState) -> dict[str, Any]:
    """Say that the target is a standby of nobody at present."""
    lines = [f"{target.name} is a standby; no member answers as primary"]
    empty: dict[str, Any] = {"primary": None, "members": {}, "unreplicated": [], "gates": [], "next_actions": []}
    return {"changed": False, "lines": lines, **empty}


def request_from(call: Call) -> RejoinRequest:
    """Read what is wanted."""
    options = call.options
    lists = Path(options["lists"]) if options["lists"] else call.run.folder / LISTS if call.run else None
    return RejoinRequest(
        tables=tuple(options["tables"]),
        lists=lists,
        list_name=options["database"],
        guard=call.guard,
        **{
            name: options[name]
            for name in (
                "database",
                "allow_data_loss",
                "reason",
                "max_lag_bytes",
                "connect_seconds",
                "statement_seconds",
                "stop_seconds",
                "copy_seconds",
                "stream_seconds",
                "archive_seconds",
            )
        },
    )


def followed(
    call: Call, provider: provided.Provider | None, member: Member, state: MemberState, primary: Primary
) -> MemberState:
    """Wait for a member that what runs it is making a standby of the primary; a plan does not wait."""
    options = call.options
    if call.check or provider is None or (state.is_standby and state.streaming):
        return state
    limit = options["connect_seconds"]
    if not provider.taken_back(member.name, primary.name, seconds=limit):
        return state
    seen = [state]

    def streams() -> bool:
        account = credentials_from(options["credentials"])
        found = observe.look({member.name: member}, account, connect_seconds=limit, statement_seconds=limit)
        seen.append(found[member.name])
        return seen[-1].is_standby and seen[-1].streaming

    with contextlib.suppress(StepTimeout):
        wait_until(
            streams,
            seconds=options["stream_seconds"],
            interval=FOLLOW_SECONDS,
            describe=f"{member.name} to follow {primary.name}",
        )
    return seen[-1]


def kept(member: Member, state: MemberState, primary: Primary) -> Outcome:
    """See that a member follows; slots, settings and archive belong to what runs it. Raises PreconditionFailed."""
    provided.refuse_rebuild(member, state, primary.name)
    line = f"{member.name} follows {primary.name} already, and what runs it keeps it so"
    return Outcome(member.name, Plan("already", "what runs it keeps it so"), lines=[line])


def one(
    call: Call,
    member: Member,
    members: Mapping[str, Member],
    primary: Primary,
    credentials: Credentials,
    request: RejoinRequest,
) -> Outcome:
    """Take one member back, or say how it would be."""
    work = Rejoin(member, members, primary, credentials, request)
    try:
        outcome = work.look()
        judged = len(outcome.gates)
        steps.record(call.run, outcome.gates)
        steps.refuse(outcome.gates, f"The rejoin of {member.name} is refused", outcome.lines)
        if call.check:
            told = rejoin_work.foretell(outcome)
            outcome.lines += told
            outcome.changed = outcome.plan.way != "already"
            if call.run and outcome.changed:
                call.run.journal.append("observation", what="plan: rejoin", lines=told)
            return outcome
        try:
            work.act()
        finally:
            steps.record(call.run, outcome.gates[judged:])
            journal(call, outcome)
        return outcome
    finally:
        work.close()


def journal(call: Call, outcome: Outcome) -> None:
    """Record what was saved and done, even if what followed failed."""
    if call.run is None:
        return
    if outcome.saved:
        call.run.journal.append(
            "observation",
            what="unreplicated transactions",
            member=outcome.member,
            lines=outcome.lines,
            **outcome.saved.as_dict(),
        )
    if outcome.changed:
        call.run.journal.append(
            "action",
            what=f"rejoin by {outcome.plan.way}",
            target=outcome.member,
            changed=True,
            lines=outcome.lines,
        )


def result(primary: Primary, outcomes: list[Outcome]) -> dict[str, Any]:
    """Give the task's result."""
    lost = [row for item in outcomes if item.saved for row in item.saved.lost]
    lines = [line for item in outcomes for line in item.lines]
    return {
        "changed": any(item.changed for item in outcomes),
        "primary": primary.name,
        "members": {item.member: item.as_dict() for item in outcomes},
        "unreplicated": [{"table": row.table, "key": dict(row.key), "fate": row.fate} for row in lost],
        "gates": [asdict(gate) for item in outcomes for gate in item.gates],
        "lines": lines or [f"{primary.name} is the primary, and nobody else is to follow it"],
        "next_actions": [line for item in outcomes for line in item.next_actions],
    }
