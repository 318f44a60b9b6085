# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make old Redis primaries replicas of the present ones."""

from __future__ import annotations

from functools import partial
from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.redis import rejoin
from ansible_collections.platform.recovery.plugins.module_utils.redis.model import MAPS, stores_of
from ansible_collections.platform.recovery.plugins.module_utils.redis.rejoin import Outcome, Request
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "redis_rejoin"
    MAPS = MAPS

    def act(self, call: Call) -> dict[str, Any]:
        """Look, plan, change what differs, wait."""
        options = call.options
        request = Request(
            target=options["target"],
            timeout_seconds=options["timeout_seconds"],
            connect_seconds=options["connect_seconds"],
            stop_seconds=options["stop_seconds"],
            check=call.check,
            guard=call.guard,
        )
        outcomes, failures = rejoin.rejoin(stores_of(options), request, partial(journal, call))
        good = [one for one in outcomes if one.store not in failures]
        result = {
            "changed": any(one.would_change if call.check else one.changed for one in outcomes),
            "target": options["target"],
            "stores": {one.store: one.as_dict() for one in good},
            "lines": [rejoin.line(one, check=call.check) for one in good],
            "next_actions": [],
        }
        if call.check and call.run:
            call.run.journal.append("observation", what="plan: redis rejoin", lines=result["lines"])
        if failures:
            error = next(iter(failures.values()))
            error.fields |= {"changed": result["changed"], "failed_stores": sorted(failures)}
            raise error
        return result


def journal(call: Call, outcome: Outcome) -> None:
    """Record what was done to a store, as soon as it is."""
    if call.run is None:
        return
    lines = [rejoin.line(outcome, check=False)]
    call.run.journal.append("action", what="redis rejoin", target=outcome.store, changed=outcome.changed, lines=lines)
