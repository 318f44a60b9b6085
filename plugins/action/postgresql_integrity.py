# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify what a recovered PostgreSQL database holds and who is connected to it."""

from __future__ import annotations

from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.errors import StepFailed, StepTimeout
from ansible_collections.platform.recovery.plugins.module_utils.postgresql import integrity, observe, steps
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.client import APPLICATION_NAME, Session
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.model import Member
from ansible_collections.platform.recovery.plugins.module_utils.waiting import wait_until
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction

POLL_SECONDS = 0.05


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "postgresql_integrity"
    MAPS = steps.MAPS
    APART = True

    def act(self, call: Call) -> dict[str, Any]:
        """Count, sum, verify; then wait for the applications."""
        options = call.options
        members, credentials = steps.inputs(options)
        limits = {"connect_seconds": options["connect_seconds"], "statement_seconds": options["statement_seconds"]}
        if call.check:
            # There is nothing to verify before the recovery; what the target holds is still worth seeing.
            with Session(members[options["target"]], credentials, options["database"], **limits) as session:
                tables = integrity.table_facts(session, options["tables"], options["table_seconds"])
            facts = {name: found.as_dict() for name, found in tables.items()}
            lines = report(options["target"], tables, [], [])[:-1]
            return {"tables": facts, "clients": [], "missing": [], "problems": [], "lines": lines, "next_actions": []}
        problems = other_primaries(options, members)
        with Session(members[options["target"]], credentials, options["database"], **limits) as session:
            if session.value("SELECT pg_is_in_recovery()"):
                problems.append(f"{options['target']} is not the primary")
            tables = integrity.table_facts(session, options["tables"], options["table_seconds"])
            session.run("RESET statement_timeout")
            problems += integrity.rule_problems(session, options["tables"])
            if not options["allow_fewer_rows"]:
                problems += integrity.shrunk(options["before"], tables)
            clients, missing = wait_for_applications(session, options)
        lines = report(options["target"], tables, clients, missing)
        result = {
            "tables": {name: facts.as_dict() for name, facts in tables.items()},
            "clients": [client.as_dict() for client in clients],
            "missing": missing,
            "problems": problems,
            "lines": lines,
            "next_actions": [],
        }
        refuse(options["target"], problems, missing, result)
        if call.run:
            data = {key: result[key] for key in ("tables", "clients")}
            call.run.journal.append("observation", what="integrity", target=options["target"], **data)
        return result


def other_primaries(options: dict[str, Any], members: dict[str, Member]) -> list[str]:
    """Name members beside the target that answer as primary, and who is connected there."""
    others = {name: member for name, member in members.items() if name != options["target"]}
    if not others:
        return []
    _, credentials = steps.inputs(options)
    limit = min(options["connect_seconds"], 0.5)
    states = observe.look(others, credentials, connect_seconds=limit, statement_seconds=limit)
    return [f"{state.name} answers as primary, too" for state in states.values() if state.is_primary]


def wait_for_applications(session: Session, options: dict[str, Any]) -> tuple[list[integrity.Client], list[str]]:
    """Ask the database who is connected until all expected applications are, or the time is up."""
    wanted = set(options["applications"])
    seen: list[integrity.Client] = []

    def connected() -> bool:
        seen[:] = integrity.clients(session, APPLICATION_NAME)
        return wanted <= {client.application_name for client in seen}

    try:
        wait_until(
            connected,
            seconds=options["applications_seconds"],
            interval=POLL_SECONDS,
            describe="the applications to connect",
        )
    except StepTimeout:
        return seen, sorted(wanted - {client.application_name for client in seen})
    return seen, []


def report(
    target: str, tables: dict[str, integrity.TableFacts], clients: list[integrity.Client], missing: list[str]
) -> list[str]:
    """Say what was found, a line each."""
    lines = [
        f"{facts.name}: {facts.rows} rows, checksum {facts.checksum}" + (f" ({facts.note})" if facts.note else "")
        for facts in tables.values()
    ]
    names = sorted({client.application_name or "(no name)" for client in clients})
    lines.append(f"connected to {target}: {', '.join(names) or 'nobody'}")
    return lines + [f"not connected: {name}" for name in missing]


def refuse(target: str, problems: list[str], missing: list[str], result: dict[str, Any]) -> None:
    """Fail where something is wrong. Raises StepFailed."""
    if problems:
        raise StepFailed(
            f"The data of {target} did not pass verification",
            wanted="every table whole, every rule valid, one primary",
            observed="; ".join(problems),
            next_action="compare with the old primary before applications rely on these tables",
            **{key: result[key] for key in ("tables", "clients", "missing", "problems", "lines")},
        )
    if missing:
        raise StepFailed(
            f"Not every application is connected to {target}",
            wanted=f"connections of {', '.join(missing)}",
            observed="; ".join(result["lines"][-1 - len(missing) :]),
            next_action=f"look at the pods of {missing[0]}: is DB_HOST the new primary, are they ready?",
            **{key: result[key] for key in ("tables", "clients", "missing", "problems", "lines")},
        )
