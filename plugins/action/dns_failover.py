# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lead many names of many zones to a region, and wait until everybody answers so."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.dns import failover
from ansible_collections.platform.recovery.plugins.module_utils.dns.failover import Outcome, Request
from ansible_collections.platform.recovery.plugins.module_utils.dns.model import zones_of
from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "dns_failover"
    MAPS = frozenset({"zones", "zones.targets", "credentials"})

    def act(self, call: Call) -> dict[str, Any]:
        """Look, plan, change what differs, wait."""
        zones, request = zones_of(call.options), request_from(call)
        record_override(call, request)
        outcomes = failover.move(zones, request)
        result = result_of(outcomes, request)
        if call.diff:
            result["diff"] = diff(outcomes)
        journal(call, outcomes, result)
        return result


def request_from(call: Call) -> Request:
    """Read what is wanted. Raises BadInput."""
    options = call.options
    overrides = any((zone.get("arc") or {}).get("override_safety_rules") for zone in options["zones"].values())
    if (options["lost_regions"] or overrides) and not (options["reason"] or "").strip():
        raise BadInput(
            "Lost regions or overridden safety rules are named, and no reason for it",
            wanted="a reason, which is journalled",
            next_action="give a reason and run again; nothing was touched",
        )
    return Request(
        target=options["target"],
        lost_regions=frozenset(options["lost_regions"]),
        timeout_seconds=options["timeout_seconds"],
        query_seconds=options["query_seconds"],
        probe_seconds=options["probe_seconds"],
        grace_seconds=options["grace_seconds"],
        healthy_seconds=options["healthy_seconds"],
        check=call.check,
        guard=call.guard,
        passed=partial(record_gate, call),
    )


def record_gate(call: Call, gate: str, observed: str, wanted: str) -> None:
    """Journal a gate that was passed. A plan decides nothing."""
    if call.run and not call.check:
        said = {"observed": observed, "wanted": wanted, "verdict": "pass", "by": "observation"}
        call.run.journal.append("decision", gate=gate, **said)


def record_override(call: Call, request: Request) -> None:
    """Journal, before any change, what is taken on the operator's word."""
    if call.run is None or call.check:
        return
    said = [f"name servers of {region} need not answer" for region in sorted(request.lost_regions)]
    said += [
        f"safety rule {arn} does not count"
        for zone in call.options["zones"].values()
        for arn in (zone.get("arc") or {}).get("override_safety_rules") or []
    ]
    for text in said:
        by = f"operator: {call.options['reason']}"
        call.run.journal.append("decision", gate="dns", observed=text, wanted="no exception", verdict="override", by=by)


def result_of(outcomes: list[Outcome], request: Request) -> dict[str, Any]:
    """Give what the task returns."""
    lines = [failover.line(one, request.target, check=request.check) for one in outcomes]
    lines += [f"{one.zone}: {note}" for one in outcomes for note in dict.fromkeys(one.notes)]
    planned = any(one.changes for one in outcomes)
    measured = [one.tail_seconds for one in outcomes if one.tail_seconds is not None]
    return {
        "changed": planned if request.check else any(one.changed for one in outcomes),
        "target": request.target,
        "zones": {one.zone: one.as_dict() for one in outcomes},
        "tail": {
            "predicted_seconds": max((one.predicted for one in outcomes), default=0),
            "measured_seconds": round(max(measured), 3) if measured else None,
        },
        "lines": lines,
        "next_actions": [
            f"once the API of {one.zone} answers, run the same again, so that its names do not lead back by themselves"
            for one in outcomes
            if not one.held
        ],
    }


def diff(outcomes: list[Outcome]) -> dict[str, str]:
    """Show what changes, a line each."""
    rows = [change for one in outcomes for change in one.changes]
    before, after = ("".join(f"{row.what}: {getattr(row, side)}\n" for row in rows) for side in ("before", "after"))
    return {"before": before, "after": after}


def journal(call: Call, outcomes: list[Outcome], result: Mapping[str, Any]) -> None:
    """Record what was done, or would be."""
    if call.run is None:
        return
    if call.check:
        call.run.journal.append("observation", what="plan: dns", lines=result["lines"])
        return
    for one in outcomes:
        lines = [line for line in result["lines"] if line.startswith(f"{one.zone}:")]
        call.run.journal.append("action", what="dns", target=one.zone, changed=one.changed, lines=lines)
