# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at every member of a PostgreSQL database from several vantage points."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils import clock, edge
from ansible_collections.platform.recovery.plugins.module_utils.postgresql import (
    decide,
    load,
    observe,
    provided,
    steps,
    vantage,
)
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.client import Session
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.model import (
    DatabaseView,
    Loss,
    MemberState,
    parse_lsn,
)
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "postgresql_observe"
    MAPS = steps.MAPS
    APART = True

    def act(self, call: Call) -> dict[str, Any]:
        """Look, judge, and refuse where that is the purpose."""
        options = call.options
        confirming = options["purpose"] == "confirm"
        view, room_problem, hindered = self._view(options, confirming)
        if confirming:
            steps.refuse_bad_access(view.members)
        verdict = decide.judge(view, options["target"])
        request = steps.request_from(options, steps.effective_mode(options["mode"], verdict))
        lines = decide.facts(view, verdict, request)
        gates = decide.confirmation_gates(view, verdict, request, room_problem) if confirming else []
        gates += [hindered] if hindered else []
        gates += load_gates(options, verdict, request) if confirming else []
        if call.run and confirming and verdict.failed:
            said = decide.statements(view, verdict.suspects)
            call.run.journal.append(
                "observation",
                what="vantage points",
                lines=vantage.table(said),
                statements=[item.as_dict() for item in said],
            )
        steps.record(call.run, gates)
        steps.refuse(gates, f"The {request.mode} to {request.target} is refused", lines)
        loss = decide.expected_loss(view, verdict, request)
        answer = self._purpose(options, view, verdict)
        if call.run and answer:
            call.run.journal.append("observation", what=options["purpose"], lines=answer["lines"])
        return {
            **asdict(verdict),
            "primaries": list(verdict.primaries),
            "suspects": list(verdict.suspects),
            "effective_mode": request.mode,
            "members": {name: steps.state_as_dict(state) for name, state in view.members.items()},
            "evidence": [item.as_dict() for item in view.evidence],
            "lag_bytes": decide.lag_bytes(view, verdict, request.target),
            "lag_seconds": decide.lag_seconds(view.members[request.target], request.failed_at),
            "expected_loss": loss.as_dict(),
            "covered_until": covered_until(view, verdict, request, loss),
            "gates": [asdict(gate) for gate in gates],
            "lines": lines,
            "next_actions": [],
            **answer,
        }

    def _view(self, options: dict[str, Any], confirming: bool) -> tuple[DatabaseView, str | None, decide.Gate | None]:
        members, credentials = steps.inputs(options)
        limits = {"connect_seconds": options["connect_seconds"], "statement_seconds": options["statement_seconds"]}
        edges = edge.Survey([edge.Place.of(entry) for entry in options["edges"]], options["connect_seconds"])
        others = [member for name, member in members.items() if name != options["target"]]
        wait = options["connect_seconds"] + 1
        with (
            provided.provider_of(members, lambda: None, credentials) as provider,
            ThreadPoolExecutor(max_workers=2) as beside,
        ):
            room = managers = None
            if confirming and options["check_room"]:
                session = Session(members[options["target"]], credentials, **limits)
                room = beside.submit(observe.room_problem, session)
            if options["ask_service_managers"]:
                # Of all, before it is known whose word counts: the way to a host takes as long as all SQL together.
                managers = beside.submit(observe.manager_evidence, provider, others, wait)
            states = observe.look(members, credentials, **limits, again=options["target"])
            evidence = observe.witnesses(
                members,
                states,
                target=options["target"],
                managers=managers.result() if managers else (),
                look_again=lambda some: observe.look(some, credentials, **limits),
            )
            evidence += tuple(observe.stepped_down(provider, states, options["target"], wait))
            hindered = hindrance(provider, states, options) if confirming else None
            room_problem = room.result() if room else None
        known = observe.remember(states, steps.recall(options["memory"]))
        steps.memorise(options["memory"], known)
        judged = decide.judge(observe.view_of(states, evidence, known), options["target"])
        heard = edges.answers(wait=decide.open_question(judged, evidence))
        seen = observe.edge_evidence(heard, members, judged.suspects, judged.source) if judged.failed else []
        given = steps.evidence_from(options["evidence"], judged.source)
        return observe.view_of(states, (*evidence, *seen, *given), known), room_problem, hindered

    def _purpose(self, options: dict[str, Any], view: DatabaseView, verdict: decide.Verdict) -> dict[str, Any]:
        if options["purpose"] == "watch":
            lines, actions, protected = decide.replication_lines(view, verdict)
            return {"lines": lines, "next_actions": actions, "protected": protected}
        if options["purpose"] == "rejoin":
            promoted = parse_lsn(options["promoted_lsn"])
            members, _ = steps.inputs(options)
            if provided.is_provided(members):
                lines, actions = provided.rejoin_lines(members, view, verdict.primary)
            else:
                lines, actions = decide.rejoin_lines(view, verdict, options["fenced"], promoted)
            return {"lines": lines, "next_actions": actions}
        return {}


def hindrance(
    provider: provided.Provider | None, states: Mapping[str, MemberState], options: dict[str, Any]
) -> decide.Gate | None:
    """Ask what runs the database whether it could make the target the primary, where that is left to do."""
    target = options["target"]
    if states[target].is_primary:
        return None
    source = next((name for name, state in states.items() if state.is_primary), None)
    return provided.gate(provider, target, source, options["connect_seconds"])


def load_gates(options: dict[str, Any], verdict: decide.Verdict, request: decide.Request) -> list[decide.Gate]:
    """Judge the load of a primary that is to be replaced on purpose."""
    limits = load.Limits(options["max_transaction_seconds"], options["max_write_bytes_per_second"])
    if not limits.any or request.mode != "switchover" or verdict.standing != "healthy" or not verdict.primary:
        return []
    members, credentials = steps.inputs(options)
    wait = {"connect_seconds": options["connect_seconds"], "statement_seconds": options["statement_seconds"]}
    with Session(members[verdict.primary], credentials, **wait) as session:
        return [load.gate(load.measure(session), limits)]


def covered_until(view: DatabaseView, verdict: decide.Verdict, request: decide.Request, loss: Loss) -> str | None:
    """Give the moment up to which the target holds everything, for later: a fence ends the standby's own knowledge."""
    target = view.members[request.target]
    end = request.failed_at if request.failed_at is not None else target.asked_at
    if not verdict.failed or loss.seconds is None or end is None:
        return None
    return clock.stamp(end - loss.seconds)
