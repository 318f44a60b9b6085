# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a PostgreSQL standby the primary, safely and fast."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils import clock
from ansible_collections.platform.recovery.plugins.module_utils.postgresql import (
    decide,
    observe,
    promote,
    provided,
    steps,
)
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.client import Session
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.model import (
    DatabaseView,
    MemberState,
    format_lsn,
)
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction

# For whoever is said to be stopped.
FENCED_CONNECT_SECONDS = 0.3


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "postgresql_promote"
    MAPS = steps.MAPS
    APART = True

    def act(self, call: Call) -> dict[str, Any]:
        """Look once more, decide, promote, prove a write."""
        options = call.options
        with self._target_session(options) as session:
            view = self._view(options, session)
            steps.refuse_bad_access(view.members)
            verdict = decide.judge(view, options["target"])
            request = steps.request_from(options, steps.effective_mode(options["mode"], verdict))
            lines = decide.facts(view, verdict, request)
            gates = decide.promotion_gates(view, verdict, request)
            dry = call.check or options["mode"] == "plan"
            if dry:
                # A plan cannot have fenced anything yet: that step has said what it would do.
                gates = [replace(g, verdict="pass") if g.gate == "fence" else g for g in gates]
            steps.record(call.run, gates)
            steps.refuse(gates, f"The promotion of {request.target} is refused", lines)
            result = {
                "target": request.target,
                "expected_loss": decide.expected_loss(view, verdict, request).as_dict(),
                "lag_bytes": lag_bytes(view, verdict, request),
                "lag_seconds": decide.lag_seconds(view.members[request.target], request.failed_at),
                "system_identifier": view.members[request.target].system_identifier,
                "gates": [asdict(gate) for gate in gates],
                "lines": lines,
                "next_actions": [],
            }
            return result | self._promote(call, session, view, lines, dry)

    @contextlib.contextmanager
    def _target_session(self, options: dict[str, Any]) -> Iterator[Session]:
        members, credentials = steps.inputs(options)
        session = Session(
            members[options["target"]],
            credentials,
            connect_seconds=options["connect_seconds"],
            statement_seconds=options["statement_seconds"],
        )
        try:
            yield session
        finally:
            session.close()

    def _view(self, options: dict[str, Any], session: Session) -> DatabaseView:
        """Ask the target, and beside it every other member: one may have come back, or may never have been stopped.

        What a fence says is proof, and what a server says now counts more. A stopped one refuses at once.
        """
        members, credentials = steps.inputs(options)
        fenced, connect = options["fenced"], options["connect_seconds"]
        others = [name for name in members if name != options["target"]]

        def ask(name: str) -> MemberState:
            limit = min(connect, FENCED_CONNECT_SECONDS) if fenced.get(name) in ("stopped", "statement") else connect
            other = Session(members[name], credentials, connect_seconds=limit, statement_seconds=limit)
            try:
                state = observe.look_at(other)
            finally:
                other.close()
            if not state.reachable and fenced.get(name) == "stopped":
                return replace(state, why_not="fenced: it is stopped")
            return state

        with ThreadPoolExecutor(max_workers=len(others) + 1) as pool:
            answers = pool.map(ask, others)
            states = {options["target"]: observe.look_at(session)} | {state.name: state for state in answers}
        return observe.view_of(states, known=observe.remember(states, steps.recall(options["memory"])))

    def _promote(self, call: Call, session: Session, view: DatabaseView, facts: list[str], dry: bool) -> dict[str, Any]:
        target = view.members[call.options["target"]]
        before = {
            "promoted_lsn": format_lsn(target.position),
            "timeline": {"before": target.timeline, "after": target.timeline},
        }
        if dry:
            foretold = [f"{target.name} would be promoted"] if target.is_standby else []
            if call.run and foretold:
                call.run.journal.append("observation", what="plan: promote", lines=foretold)
            return {**before, "changed": target.is_standby, "write_proven": False, "lines": facts + foretold}
        run_id = call.run.id if call.run else "no run"
        call.guard()
        if target.is_primary:
            promote.prove_write(session, run_id)
            return {**before, "changed": False, "write_proven": True}
        begin = time.monotonic()
        promotion = self._told(call, session, view)
        promote.prove_write(session, run_id)
        seconds, promoted_at = time.monotonic() - begin, clock.utc_now()
        after = observe.look_at(session)
        steps.memorise(call.options["memory"], observe.remember({after.name: after}, None))
        if call.run:
            call.run.journal.append(
                "action",
                what="promote",
                target=target.name,
                changed=True,
                seconds=round(seconds, 4),
                timeline=after.timeline,
                system_identifier=after.system_identifier,
                promoted_at=promoted_at,
            )
        outcome = f"{target.name} is primary on timeline {after.timeline}, first commit after {seconds * 1000:.0f} ms"
        return {
            "changed": True,
            "promoted_at": promoted_at,
            "promotion_seconds": round(seconds, 4),
            "nudges": promotion.nudges,
            "write_proven": True,
            "promoted_lsn": before["promoted_lsn"],
            "timeline": {"before": target.timeline, "after": after.timeline},
            "lines": [*facts, outcome],
        }

    def _told(self, call: Call, session: Session, view: DatabaseView) -> promote.Promotion:
        """Promote by SQL, or through what runs the database."""
        seconds, target = call.options["provider_seconds"], call.options["target"]
        members, credentials = steps.inputs(call.options)
        with provided.provider_of(members, call.guard, credentials) as provider:
            if provider is None:
                return promote.promote(session, seconds=call.options["promote_seconds"])
            begin = time.monotonic()
            down = [name for name, state in view.members.items() if name != target and state.is_standby]
            provider.promote(target, stepped_down=down, seconds=seconds)
            return promote.follow(session, seconds=max(1.0, seconds - (time.monotonic() - begin)))


def lag_bytes(view: DatabaseView, verdict: decide.Verdict, request: decide.Request) -> int | None:
    """Give how far the target is behind the last position known of the primary."""
    if request.final_lsn is not None:
        return max(0, request.final_lsn - (view.members[request.target].position or 0))
    return decide.lag_bytes(view, verdict, request.target)
