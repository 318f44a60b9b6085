# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check whether many workloads could be pointed to another database right now."""

from __future__ import annotations

from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.fleet import Fleet, opened
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.readiness import ROLE, checks
from ansible_collections.platform.recovery.plugins.module_utils.readiness import Check, Checklist, result
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "workload_readiness"
    MAPS = frozenset({"clusters"})

    def act(self, call: Call) -> dict[str, Any]:
        """Read, plan, and ask for our rights."""
        on = Checklist(ROLE, call.options["name"])
        return result(call.run, on.attempt("clusters", lambda: judge(on, call.options)))


def judge(on: Checklist, options: dict[str, Any]) -> list[Check]:
    """Check all clusters that are not given up."""
    with opened(options, check=True) as (fleet, targets):
        if not targets:
            return [nothing(on, fleet)]
        found = checks(options["name"], fleet, targets, options["variable"], options["value"])
        return found + given_up(on, fleet)


def given_up(on: Checklist, fleet: Fleet) -> list[Check]:
    """Say of clusters that are lost by the operator's word that nobody asked them."""
    mend = "leave them out of recovery_lost_clusters once they are back"
    return [
        on.judged(f"cluster {name}", None, f"not asked, {number} workloads in it", "an answer", mend)
        for name, number in fleet.lost.items()
    ]


def nothing(on: Checklist, fleet: Fleet) -> Check:
    """Say that there is nothing to point anywhere."""
    seen = "all clusters are given up as lost" if fleet.lost else "no workload depends on it"
    mend = "leave them out of recovery_lost_clusters once they are back"
    return on.judged("workloads", None if fleet.lost else True, seen, "every workload can be repointed", mend)
