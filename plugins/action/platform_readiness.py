# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check whether a run's gates could be passed and its journal be kept right now."""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils import gates_readiness as gates
from ansible_collections.platform.recovery.plugins.module_utils import lease
from ansible_collections.platform.recovery.plugins.module_utils import run as runs
from ansible_collections.platform.recovery.plugins.module_utils.approvals import Rule
from ansible_collections.platform.recovery.plugins.module_utils.readiness import Check, result
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "platform_readiness"

    def act(self, call: Call) -> dict[str, Any]:
        """Look at what stands before the first change."""
        checks = of_gates(call) if call.options["part"] == "gates" else of_run(call)
        return result(call.run, checks)


def of_gates(call: Call) -> list[Check]:
    """Look at lease, approvals and objectives."""
    options, who = call.options, runs.initiator(call.task_vars)
    me = lease.holder(who, call.run.id if call.run else "", runs.controller())
    return [
        *gates.lease_checks(options["homes"], me, time.time()),
        gates.approval_check(Rule.of(options["approvals"]) if options["approvals"] else None, [who]),
        *gates.objective_checks(options["databases"]),
        gates.canary_check(options["canary"]),
    ]


def of_run(call: Call) -> list[Check]:
    """Look at where this run's own journal is kept, for there the next one's will be."""
    folder = call.run.folder.parent if call.run else runs.sink_folder(None)
    return [*gates.sink_checks(folder), gates.evidence_check(call.options["evidence_key"])]
