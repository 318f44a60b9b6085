# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check whether names could be led to another region right now."""

from __future__ import annotations

from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.dns import asking
from ansible_collections.platform.recovery.plugins.module_utils.dns.failover import Request
from ansible_collections.platform.recovery.plugins.module_utils.dns.model import zones_of
from ansible_collections.platform.recovery.plugins.module_utils.dns.readiness import checks
from ansible_collections.platform.recovery.plugins.module_utils.readiness import result
from ansible_collections.platform.recovery.plugins.module_utils.side_by_side import at_once
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "dns_readiness"
    MAPS = frozenset({"zones", "zones.targets", "credentials"})

    def act(self, call: Call) -> dict[str, Any]:
        """Ask everybody, and judge."""
        options = call.options
        asking.require()
        request = Request(
            target=options["target"],
            lost_regions=frozenset(options["lost_regions"]),
            timeout_seconds=options["timeout_seconds"],
            query_seconds=options["query_seconds"],
            probe_seconds=options["probe_seconds"],
            check=True,
        )
        found = at_once(lambda zone: checks(zone, request, options["most_ttl_seconds"]), zones_of(call.options))
        return result(call.run, [check for many in found for check in many])
