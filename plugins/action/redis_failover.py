# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the Redis servers of a region the primaries of their stores, never two at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput, RecoveryError
from ansible_collections.platform.recovery.plugins.module_utils.redis import failover
from ansible_collections.platform.recovery.plugins.module_utils.redis.decide import Gate, Wish
from ansible_collections.platform.recovery.plugins.module_utils.redis.failover import Outcome, Request
from ansible_collections.platform.recovery.plugins.module_utils.redis.model import MAPS, stores_of
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction

NEED_REASON = ("lost_regions", "statement", "allow_data_loss")


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "redis_failover"
    MAPS = MAPS

    def act(self, call: Call) -> dict[str, Any]:
        """Look, plan, change what differs, wait."""
        request = request_from(call)
        outcomes, failures = failover.move(stores_of(call.options), request, partial(journal, call))
        result = result_of(outcomes, request, failures)
        if call.diff:
            result["diff"] = diff(outcomes)
        if call.check and call.run:
            call.run.journal.append("observation", what="plan: redis", lines=result["lines"])
        if failures:
            raise failed(failures, result)
        return result


def request_from(call: Call) -> Request:
    """Read what is wanted. Raises BadInput."""
    options = call.options
    reason = (options["reason"] or "").strip()
    named = [name for name in NEED_REASON if options[name]]
    if named and not reason:
        raise BadInput(
            f"{named[0]} is given, and no reason for it",
            wanted="a reason, which is journalled",
            next_action="give a reason and run again; nothing was touched",
        )
    wish = Wish(
        target=options["target"],
        mode=options["mode"],
        lost_regions=frozenset(options["lost_regions"]),
        reason=reason,
        allow_data_loss=options["allow_data_loss"],
        statement=(options["statement"] or "").strip(),
        most_lag_bytes=options["most_lag_bytes"],
    )
    return Request(
        wish,
        timeout_seconds=options["timeout_seconds"],
        connect_seconds=options["connect_seconds"],
        confirm_seconds=options["confirm_seconds"],
        drain_seconds=options["drain_seconds"],
        stop_seconds=options["stop_seconds"],
        check=call.check,
        guard=call.guard,
        decided=partial(record, call),
    )


def record(call: Call, gates: Sequence[Gate]) -> None:
    """Journal decisions."""
    for gate in gates if call.run else ():
        said = {"observed": gate.observed, "wanted": gate.wanted, "verdict": gate.verdict, "by": gate.by}
        if call.run:
            call.run.journal.append("decision", gate=gate.gate, **said)


def result_of(outcomes: Sequence[Outcome], request: Request, failures: Mapping[str, RecoveryError]) -> dict[str, Any]:
    """Give what the task returns."""
    good = [one for one in outcomes if one.store not in failures]
    lines = [text for one in good for text in (failover.line(one, check=request.check), *told(one))]
    return {
        "changed": any(one.would_change if request.check else one.changed for one in outcomes),
        "target": request.wish.target,
        "stores": {one.store: one.as_dict() for one in good},
        "lines": lines,
        "next_actions": [f"{one.store}: {text}" for one in good for text in one.next_actions],
    }


def told(outcome: Outcome) -> list[str]:
    """Give a store's own lines."""
    return [f"{outcome.store}: {text}" for text in outcome.lines]


def failed(failures: Mapping[str, RecoveryError], result: Mapping[str, Any]) -> RecoveryError:
    """Give the first failure, with what became of the other stores."""
    error = next(iter(failures.values()))
    error.fields |= {"changed": result["changed"], "stores": result["stores"], "failed_stores": sorted(failures)}
    return error


def diff(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Show who is primary, a line each."""
    rows = [one for one in outcomes if one.would_change]
    before = "".join(f"{one.store}: {one.source or 'nobody'}\n" for one in rows)
    return {"before": before, "after": "".join(f"{one.store}: {one.target}\n" for one in rows)}


def journal(call: Call, outcome: Outcome) -> None:
    """Record what was done to a store, as soon as it is, with what it lost."""
    if call.run is None:
        return
    lines = [failover.line(outcome, check=False), *told(outcome)]
    loss = outcome.as_dict()["rpo"]
    call.run.journal.append(
        "action", what="redis", target=outcome.store, changed=outcome.changed, lines=lines, rpo=loss
    )
