# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check whether a PostgreSQL database could be switched or failed over right now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.postgresql import observe, provided, readiness, steps
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.client import Session, require_psycopg2
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.decide import Request
from ansible_collections.platform.recovery.plugins.module_utils.readiness import Check, result
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "postgresql_readiness"
    MAPS = steps.MAPS

    def act(self, call: Call) -> dict[str, Any]:
        """Ask everything that one role would need."""
        require_psycopg2()
        return result(call.run, CHECKS[call.options["part"]](call.options))


def confirm(options: Mapping[str, Any]) -> list[Check]:
    """Ask what stands before a recovery begins."""
    members, credentials = steps.inputs(options)
    limits = limits_of(options)
    target = readiness.opened(members[options["target"]], credentials, **limits)
    with ThreadPoolExecutor(max_workers=2) as beside:
        room = beside.submit(observe.room_error, target)
        equipped = beside.submit(readiness.equipment, members, credentials, **limits)
        states = observe.look(members, credentials, **limits, again=str(options["target"]))
        seen = observe.witnesses(
            members,
            states,
            target=options["target"],
            managers=(),  # the fence's own checks ask them all
            look_again=lambda some: observe.look(some, credentials, **limits),
        )
    given = steps.evidence_from(options["evidence"], None)
    known = observe.remember(states, steps.recall(options["memory"]))
    view = observe.view_of(states, seen + given, known)
    want = Request(options["target"], "switchover", options["rpo_seconds"], max_lag_bytes=options["max_lag_bytes"])
    return readiness.checks(options["name"], members, view, equipped.result(), want, room.result())


def fence(options: Mapping[str, Any]) -> list[Check]:
    """Ask what a fence would need."""
    members, credentials = steps.inputs(options)
    with provided.provider_of(members, lambda: None, credentials) as provider, ThreadPoolExecutor(1) as beside:
        remarks = beside.submit(readiness.remarks, provider, members, options["connect_seconds"])
        found = readiness.channels(members, credentials, provider=provider, **limits_of(options))
        return list(readiness.fence_checks(options["name"], members, found, remarks.result()))


def verify(options: Mapping[str, Any]) -> list[Check]:
    """Ask what a verification would need."""
    members, credentials = steps.inputs(options)
    opened = {
        name: Session(member, credentials, options["database"], **limits_of(options))
        for name, member in members.items()
        if not member.rds  # an Aurora cluster is one storage, and RDS keeps its extensions
    }
    session = Session(members[options["target"]], credentials, options["database"], **limits_of(options))
    with ThreadPoolExecutor(1) as beside:
        schemas = beside.submit(readiness.schemas, opened) if options["target"] in opened else None
        try:
            found = readiness.table_checks(options["name"], session, options["tables"])
        finally:
            session.close()
        if schemas:
            found += readiness.schema_checks(options["name"], schemas.result(), options["target"])
    return found


def limits_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Give the deadlines."""
    return {name: options[name] for name in ("connect_seconds", "statement_seconds")}


CHECKS: Mapping[str, Callable[[Mapping[str, Any]], list[Check]]] = {
    "confirm": confirm,
    "fence": fence,
    "verify": verify,
}
