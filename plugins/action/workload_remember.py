# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remember how large a region's workloads are, where it can be read when that region is lost."""

from __future__ import annotations

from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.fleet import opened
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.progress import (
    progress_of,
    record,
    record_lost,
)
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.remember import remember
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "workload_remember"
    MAPS = frozenset({"clusters"})

    def act(self, call: Call) -> dict[str, Any]:
        """Read one region, write to the others."""
        options = call.options
        with opened(options, check=call.check, guard=call.guard, also=options["remember_in"]) as (fleet, targets):
            record_lost(call.run, "remember", fleet.lost, options["reason"], check=call.check)
            keepers = [name for name in options["remember_in"] if name in fleet.clients]
            told = progress_of(call.run, "remember")
            result = remember(fleet, targets, options["region"], keepers, options["snapshot"], told)
        if not call.diff:
            del result["diff"]
        record(call.run, "remember", f"sizes of {options['region']}", result, check=call.check)
        return result
