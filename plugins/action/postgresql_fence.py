# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stop an old PostgreSQL primary for good, and prove it."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import replace
from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.errors import StepFailed
from ansible_collections.platform.recovery.plugins.module_utils.postgresql import fence, provided, steps
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.client import Session
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.decide import Gate
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.model import Member, MemberState, format_lsn
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "postgresql_fence"
    MAPS = steps.MAPS
    APART = True

    @functools.cached_property
    def half_done(self) -> fence.HalfDone:
        """What all databases of this task share: one process has one way to be ended."""
        return fence.HalfDone()

    def side_by_side(self) -> contextlib.AbstractContextManager[None]:
        """Hear the signals that the databases' threads do not get."""
        return self.half_done.watching()

    def act(self, call: Call) -> dict[str, Any]:
        """Survey, choose a step for each member beside the target, do it, prove it."""
        options = call.options
        if options["statement"]:
            steps.require_reason(options, "statement")
        members, credentials = steps.inputs(options)
        request = replace(request_from(options), guard=call.guard, half_done=self.half_done)
        with provided.provider_of(members, call.guard, credentials) as provider:
            return self._fence(call, request, provider)

    def _fence(self, call: Call, request: fence.FenceRequest, provider: provided.Provider | None) -> dict[str, Any]:
        options = call.options
        members, credentials = steps.inputs(options)
        states, units = fence.survey(members, credentials, request, provider)
        steps.refuse_bad_access(states)
        if options["state"] == "released":
            return release(call, members, states)
        runner = fence.Runner(members, credentials, request, states, units, provider)
        chosen = runner.choose()
        refuse_hindered(call, runner, chosen)
        dry = call.check or request.mode == "plan" or options["state"] == "verified"
        outcomes = runner.foretell(chosen) if dry else runner.carry_out(chosen)
        if options["state"] == "verified":
            refuse_unfenced(call, outcomes)
        # What is said of the future is no decision; what happened is journalled even if the next member fails.
        steps.record(call.run, [] if dry else [gate_of(item, request) for item in outcomes])
        journal(call, outcomes, dry)
        main = next((item for item in outcomes if item.step != "nothing"), outcomes[0] if outcomes else None)
        return {
            "changed": any(item.changed for item in outcomes),
            "fenced": {item.member: item.proof for item in outcomes},
            "proof": fence.weakest(outcomes),
            "details": {item.member: item.as_dict() for item in outcomes},
            "source": main.member if main else None,
            "final_lsn": format_lsn(main.final_lsn) if main else None,
            "tables": {name: facts.as_dict() for name, facts in main.tables.items()} if main else {},
            "lines": [line for item in outcomes for line in fence.outcome_lines(item)],
            "next_actions": [line for item in outcomes for line in fence.outcome_actions(item)],
        }


def refuse_hindered(call: Call, runner: fence.Runner, chosen: dict[str, fence.Step]) -> None:
    """Fence nobody for a target that cannot become the primary. Raises PreconditionFailed."""
    if runner.target_is_primary or not any(step in {"drain", "kill", "rely"} for step in chosen.values()):
        return
    source = next((name for name, step in chosen.items() if step == "drain"), None)
    seconds = call.options["connect_seconds"]
    found = provided.gate(runner.provider, call.options["target"], source, seconds)
    if found:
        steps.record(call.run, [found])
        steps.refuse([found], f"{call.options['target']} cannot become the primary, so nothing is fenced", [])


def refuse_unfenced(call: Call, foretold: list[fence.Fenced]) -> None:
    """Find all fenced. Raises StepFailed."""
    missing = [item for item in foretold if item.changed]
    if missing:
        raise StepFailed(
            f"{', '.join(item.member for item in missing)} is not fenced (any more)",
            wanted="every member beside the target stopped for good, or a standby",
            observed="; ".join(f"{item.member}: {item.observed}" for item in missing),
            next_action=f"find out who started it; run the recovery to {call.options['target']} again, it fences again",
        )


def journal(call: Call, outcomes: list[fence.Fenced], dry: bool) -> None:
    """Record what was done to members, or what would be."""
    touched = [item for item in outcomes if item.changed]
    if call.run is None or not touched:
        return
    lines = [f"{item.member}: {item.observed}" for item in touched]
    if dry:
        call.run.journal.append("observation", what="plan: fence", lines=lines)
    else:
        target = ", ".join(item.member for item in touched)
        call.run.journal.append("action", what="fence", target=target, changed=True, lines=lines)


def request_from(options: dict[str, Any]) -> fence.FenceRequest:
    """Read what is wanted."""
    others = [name for name in options["members"] if name != options["target"]]
    return fence.FenceRequest(
        target=options["target"],
        mode=options["mode"],
        statement=(options["statement"] or "").strip() or None,
        reason=options["reason"],
        connect_seconds=options["connect_seconds"],
        statement_seconds=options["statement_seconds"],
        drain_seconds=options["drain_seconds"],
        stop_seconds=options["stop_seconds"],
        provider_seconds=options["provider_seconds"],
        database=options["database"],
        tables=tuple(options["tables"]),
        table_seconds=options["table_seconds"],
        evidence=steps.evidence_from(options["evidence"], others[0] if len(others) == 1 else None),
    )


def gate_of(item: fence.Fenced, request: fence.FenceRequest) -> Gate:
    """Give the decision that an outcome stands for."""
    wanted = "stopped or a standby, and proven"
    if item.proof == "statement":
        return Gate(f"fence {item.member}", item.observed, wanted, "override", f"operator: {request.reason}")
    return Gate(f"fence {item.member}", f"{item.proof}: {item.observed}", wanted)


def release(call: Call, members: dict[str, Member], states: dict[str, MemberState]) -> dict[str, Any]:
    """Let applications write again on every primary that was left drained."""
    options = call.options
    _, credentials = steps.inputs(options)
    quiet = [name for name, state in states.items() if state.is_primary and state.read_only]
    if quiet and not call.check:
        call.guard()
    for name in [] if call.check else quiet:
        with Session(
            members[name],
            credentials,
            connect_seconds=options["connect_seconds"],
            statement_seconds=options["statement_seconds"],
        ) as session:
            fence.release(session)
    return {
        "changed": bool(quiet),
        "fenced": {},
        "proof": "none",
        "details": {},
        "source": quiet[0] if quiet else None,
        "final_lsn": None,
        "tables": {},
        "lines": [f"{name} accepts writes again" for name in quiet] or ["no primary was left drained"],
        "next_actions": [],
    }
