# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Point an environment variable of many workloads to a new value, concurrently and under a lock."""

from __future__ import annotations

from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.apart import Options, apart
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.fleet import opened
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.progress import record, record_lost
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.repoint import repoint
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "workload_repoint"
    MAPS = frozenset({"clusters", "databases.clusters"})

    def act(self, call: Call) -> dict[str, Any]:
        """Observe, plan, patch what differs."""

        def work(options: Options, _database: str) -> dict[str, Any]:
            with opened(options, check=call.check, guard=call.guard) as (fleet, targets):
                record_lost(call.run, "repoint", fleet.lost, options["reason"], check=call.check)
                return repoint(fleet, targets, options["variable"], value_of(options))

        result, failures = apart(call.options, work)
        if not call.diff:
            del result["diff"]
        record(call.run, "repoint", f"{result['variable']}={result['value']}", result, check=call.check)
        return call.with_failures(result, failures)


def value_of(options: Options) -> str:
    """Give the value that is wanted."""
    if options["value"] is not None:
        return str(options["value"])
    raise BadInput(
        "Nobody says what the variable is to be",
        wanted="value, or that of the database",
        next_action="give it and run again; nothing was touched",
    )
