# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Move the writes and the consumer groups of Kafka clusters to another region."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput
from ansible_collections.platform.recovery.plugins.module_utils.kafka import failover
from ansible_collections.platform.recovery.plugins.module_utils.kafka.failover import Outcome, Request
from ansible_collections.platform.recovery.plugins.module_utils.kafka.model import stores_of
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "kafka_failover"
    MAPS = frozenset({"stores", "stores.members", "credentials"})

    def act(self, call: Call) -> dict[str, Any]:
        """Look, decide, do what is missing."""
        stores, request = stores_of(call.options), request_from(call)
        record_overrides(call, request)
        outcomes = failover.move(stores, request)
        result = result_of(outcomes, request)
        if call.diff:
            result["diff"] = diff(outcomes)
        journal(call, outcomes, result)
        return result


def request_from(call: Call) -> Request:
    """Read what is wanted. Raises BadInput."""
    options = call.options
    overrides = options["lost_regions"] or options["allow_data_loss"] or options["fence_statement"].strip()
    if overrides and not options["reason"].strip():
        raise BadInput(
            "Lost regions, a loss or a fence are taken on the operator's word, and no reason is given",
            wanted="a reason, which is journalled",
            next_action="give a reason and run again; nothing was touched",
        )
    return Request(
        target=options["target"],
        mode=options["mode"],
        lost_regions=frozenset(options["lost_regions"]),
        allow_data_loss=options["allow_data_loss"],
        fence_statement=options["fence_statement"].strip(),
        failed_at=stamp(options["failed_at"]),
        timeout_seconds=options["timeout_seconds"],
        connect_seconds=options["connect_seconds"],
        stop_seconds=options["stop_seconds"],
        drain_seconds=options["drain_seconds"],
        check=call.check,
        guard=call.guard,
        passed=partial(record_gate, call),
    )


def stamp(text: str | None) -> float | None:
    """Read a stamp into seconds since 1970. Raises BadInput."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        raise BadInput(
            f"failed_at is {text!r}",
            wanted="a UTC stamp such as 2026-11-29T19:00:00Z",
            next_action="correct it and run again; nothing was touched",
        ) from None


def record_gate(call: Call, gate: str, observed: str, wanted: str) -> None:
    """Journal a gate that was passed. A plan decides nothing."""
    if call.run and not call.check:
        said = {"observed": observed, "wanted": wanted, "verdict": "pass", "by": "observation"}
        call.run.journal.append("decision", gate=gate, **said)


def record_overrides(call: Call, request: Request) -> None:
    """Journal, before any change, what is taken on the operator's word."""
    if call.run is None or call.check:
        return
    said = [f"Kafka of {region} is given up although it may answer" for region in sorted(request.lost_regions)]
    said += ["more loss than the objective is accepted"] if request.allow_data_loss else []
    said += [f"statement: {request.fence_statement}"] if request.fence_statement else []
    for text in said:
        by = f"operator: {call.options['reason']}"
        call.run.journal.append(
            "decision", gate="kafka", observed=text, wanted="no exception", verdict="override", by=by
        )


def result_of(outcomes: list[Outcome], request: Request) -> dict[str, Any]:
    """Give what the task returns."""
    lines = [failover.line(one, request) for one in outcomes]
    lines += [f"{one.store}: {note}" for one in outcomes for note in dict.fromkeys(one.notes)]
    planned = any(one.changes for one in outcomes)
    return {
        "changed": planned if request.check else any(one.changed for one in outcomes),
        "target": request.target,
        "stores": {one.store: one.as_dict() for one in outcomes},
        "lines": lines,
        "next_actions": [text for one in outcomes for text in one.next_actions],
    }


def diff(outcomes: list[Outcome]) -> dict[str, str]:
    """Show what changes, a line each."""
    rows = [row for one in outcomes for row in one.changes]
    before, after = ("".join(f"{row[0]}: {row[side]}\n" for row in rows) for side in (1, 2))
    return {"before": before, "after": after}


def journal(call: Call, outcomes: list[Outcome], result: Mapping[str, Any]) -> None:
    """Record what was done, or would be, with each store's own loss."""
    if call.run is None:
        return
    if call.check:
        call.run.journal.append("observation", what="plan: kafka", lines=result["lines"])
        return
    for one in outcomes:
        lines = [line for line in result["lines"] if line.startswith(f"{one.store}:")]
        call.run.journal.append(
            "action", what="kafka", target=one.store, changed=one.changed, lines=lines, rpo=one.as_dict()["rpo"]
        )
