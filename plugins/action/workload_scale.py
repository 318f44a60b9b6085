# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scale many workloads, remember their former sizes, wait until their pods are gone or ready."""

from __future__ import annotations

from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.apart import Options, apart
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.fleet import opened
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.progress import (
    progress_of,
    record,
    record_lost,
)
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.scale import Rules, scale
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.sizes import load_snapshot, parse_size
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.waves import levels
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "workload_scale"
    MAPS = frozenset({"clusters", "databases.clusters"})

    def act(self, call: Call) -> dict[str, Any]:
        """Observe, plan, patch what differs, watch."""
        wanted = parse_size(call.options["replicas"], call.options["lost_region"])
        rules = Rules(
            capacity=call.options["capacity"],
            autoscalers=call.options["autoscalers"] == "respect",
            budgets=call.options["disruption_budgets"] == "respect",
            order=levels(call.options["services"]),
            snapshot=load_snapshot(call.options["snapshot"]),
            stopped_only=call.options["stopped_only"],
            keep_unknown=call.options["unknown_sizes"] == "keep",
        )

        def work(options: Options, database: str) -> dict[str, Any]:
            with opened(options, check=call.check, guard=call.guard) as (fleet, targets):
                record_lost(call.run, "scale", fleet.lost, options["reason"], check=call.check)
                return scale(fleet, targets, wanted, progress_of(call.run, "scale", database), rules)

        result, failures = apart(call.options, work)
        if not call.diff:
            del result["diff"]
        record(call.run, "scale", f"{result['total']} workloads", result, check=call.check)
        return call.with_failures(result, failures)
