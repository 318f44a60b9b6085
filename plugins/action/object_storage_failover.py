# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have applications write to the buckets of another region."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.object_storage import failover
from ansible_collections.platform.recovery.plugins.module_utils.object_storage.decide import Request
from ansible_collections.platform.recovery.plugins.module_utils.object_storage.failover import Outcome
from ansible_collections.platform.recovery.plugins.module_utils.object_storage.model import stores_of
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction

# How many of what never arrived a record of the journal names; it has the number of all.
JOURNALLED = 100


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "object_storage_failover"
    MAPS = frozenset({"stores", "stores.members", "credentials"})

    def act(self, call: Call) -> dict[str, Any]:
        """Look, plan, do what is missing, compare."""
        request = request_from(call)
        outcomes = failover.move(stores_of(call.options), request)
        result = result_of(outcomes, request)
        if call.diff:
            steps = "".join(f"{one.store}: {step}\n" for one in outcomes for step in one.steps)
            result["diff"] = {"before": "", "after": steps}
        journal(call, outcomes, result)
        return result


def request_from(call: Call) -> Request:
    """Read what is wanted."""
    options = call.options
    return Request(
        target=options["target"],
        mode=options["mode"],
        lost_regions=frozenset(options["lost_regions"]),
        reason=options["reason"] or "",
        allow_data_loss=options["allow_data_loss"],
        fence_statement=options["fence_statement"] or "",
        discard_unreplicated=options["discard_unreplicated"],
        timeout_seconds=options["timeout_seconds"],
        check=call.check,
        guard=call.guard,
        passed=partial(record_gate, call),
    )


def record_gate(call: Call, gate: str, observed: str, wanted: str, verdict: str, by: str) -> None:
    """Journal a gate that was passed. A plan decides nothing."""
    if call.run and not call.check:
        said = {"observed": observed, "wanted": wanted, "verdict": verdict, "by": by}
        call.run.journal.append("decision", gate=gate, **said)


def result_of(outcomes: list[Outcome], request: Request) -> dict[str, Any]:
    """Give what the task returns."""
    return {
        "changed": any(one.changed for one in outcomes),
        "target": request.target,
        "stores": {one.store: one.as_dict() for one in outcomes},
        "lines": [
            *(failover.line(one, check=request.check) for one in outcomes),
            *(f"{one.store}: {note}" for one in outcomes for note in one.notes),
        ],
        "next_actions": [f"{one.store}: {text}" for one in outcomes for text in one.next_actions],
    }


def journal(call: Call, outcomes: list[Outcome], result: Mapping[str, Any]) -> None:
    """Record what was done for each store and what it lost, or what would be done."""
    if call.run is None:
        return
    if call.check:
        call.run.journal.append("observation", what="plan: object storage", lines=result["lines"])
        return
    for one in outcomes:
        told = one.as_dict()
        call.run.journal.append(
            "action",
            what="object_storage",
            target=one.store,
            changed=one.changed,
            lines=[line for line in result["lines"] if line.startswith(f"{one.store}:")],
            steps=told["steps"],
            rpo=told["rpo"],
            never_arrived=told["never_arrived"][:JOURNALLED],
        )
