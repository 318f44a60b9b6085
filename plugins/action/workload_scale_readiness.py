# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check whether many workloads could be scaled up right now."""

from __future__ import annotations

from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.fleet import Fleet, opened
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.readiness import look
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.remember import present_sizes
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.scale import Rules
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.scale_readiness import (
    ROLE,
    checks,
    memory_checks,
)
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.sizes import (
    Memories,
    Snapshot,
    load_snapshot,
    parse_size,
)
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.waves import levels
from ansible_collections.platform.recovery.plugins.module_utils.readiness import Check, Checklist, result
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "workload_scale_readiness"
    MAPS = frozenset({"clusters"})

    def act(self, call: Call) -> dict[str, Any]:
        """Read, decide, and ask for our rights."""
        on = Checklist(ROLE, call.options["name"])
        return result(call.run, on.attempt("clusters", lambda: judge(on, call.options)))


def judge(on: Checklist, options: dict[str, Any]) -> list[Check]:
    """Check all clusters that are not given up."""
    size = parse_size(options["replicas"], options["lost_region"])
    kept = load_snapshot(options["snapshot"])
    now = present(options)
    rules = Rules(
        autoscalers=options["autoscalers"] == "respect",
        budgets=options["disruption_budgets"] == "respect",
        order=levels(options["services"]),
        snapshot=Snapshot(workloads={**kept.workloads, **now}, newest=True) if now else kept,
    )
    with opened(options, check=True) as (fleet, targets):
        found = checks(options["name"], fleet, targets, size, rules)
        if options["source_workloads"]:
            found += memory_checks(options["name"], fleet, targets, options["lost_region"], now, kept)
        return found + given_up(on, fleet)


def present(options: dict[str, Any]) -> dict[str, Memories]:
    """Ask the region that might be lost how large its workloads are, as far as its clusters answer."""
    with opened({**options, "workloads": options["source_workloads"], "namespaces": []}, check=True) as (
        fleet,
        targets,
    ):
        if not targets:
            return {}
        _, seen = look(fleet, targets)
        return {name: {options["lost_region"]: size} for name, size in present_sizes(seen.workloads).items()}


def given_up(on: Checklist, fleet: Fleet) -> list[Check]:
    """Say of clusters that are lost by the operator's word that nobody asked them."""
    mend = "leave them out of recovery_lost_clusters once they are back"
    return [on.judged(f"cluster {name}", None, "not asked", "an answer", mend) for name in fleet.lost]
