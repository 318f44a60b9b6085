# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""See many workloads from their clusters: what is ready, and where each points."""

from __future__ import annotations

from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.fleet import opened
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.vantage import observe
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "workload_observe"
    MAPS = frozenset({"clusters"})

    def act(self, call: Call) -> dict[str, Any]:
        """Read only."""
        with opened(call.options, check=call.check) as (fleet, targets):
            result = observe(fleet, targets, call.options["variable"])
        if call.run:
            call.run.journal.append("observation", what="workloads", lines=result["lines"])
        return result
