# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validate the platform description and the operator's variables; select what the run works on."""

from __future__ import annotations

from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils import lease_homes, provenance, schema, variables
from ansible_collections.platform.recovery.plugins.module_utils import platform as description
from ansible_collections.platform.recovery.plugins.module_utils.evidence import PROVENANCE_EVENT
from ansible_collections.platform.recovery.plugins.module_utils.run import initiator
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "platform_description"
    MAPS = description.MAPS

    def act(self, call: Call) -> dict[str, Any]:
        """Refuse with every problem at once, or give the selection."""
        platform, credentials = call.options["platform"], call.options["credentials"] or {}
        wish = description.aimed(description.Wish.of(call.options), platform)
        problems = [
            *variables.misspelt(call.task_vars),
            *description.cross_check(platform, credentials),
            *description.check_wish(wish, platform),
        ]
        schema.refuse(problems, "The input", "correct the keys named here and run again; nothing was touched")
        decision = description.require_confirmation(wish)
        databases = description.select(wish, platform)
        if call.run:
            call.run.journal.append(PROVENANCE_EVENT, platform_description=provenance.document(platform))
            call.run.journal.append(
                "objectives", target=wish.target, **description.objectives(wish, platform, databases)
            )
            if decision:
                call.run.journal.append("decision", **decision, by=f"operator: {initiator(call.task_vars)}")
        names = ", ".join(database["name"] for database in databases)
        return {
            "mode": wish.mode,
            "databases": databases,
            "services": description.service_inputs(databases),
            "canary": description.canary_inputs(wish, platform),
            "zones": description.zone_inputs(wish, platform),
            "stores": description.store_inputs(wish, platform),
            "region": description.region_inputs(wish, platform),
            "approvals": description.approval_inputs(wish, platform),
            "platform": platform if wish.mode in ("drill", "readiness") else None,
            "regions": description.parity_inputs(wish, platform) if wish.mode == "readiness" else None,
            "lease": lease_homes.homes_of(platform, wish.lost_clusters),
            "lines": [f"Platform {platform['name']}: {wish.mode} of {names} to {wish.target}"],
        }
