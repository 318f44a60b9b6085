# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check whether stores of events could be moved to another region right now."""

from __future__ import annotations

from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.kafka import client, failover
from ansible_collections.platform.recovery.plugins.module_utils.kafka.failover import Request
from ansible_collections.platform.recovery.plugins.module_utils.kafka.model import Store, stores_of
from ansible_collections.platform.recovery.plugins.module_utils.kafka.readiness import checks
from ansible_collections.platform.recovery.plugins.module_utils.readiness import Check, result
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "kafka_readiness"
    MAPS = frozenset({"stores", "stores.members", "credentials"})

    def act(self, call: Call) -> dict[str, Any]:
        """Ask everybody, and judge."""
        options = call.options
        client.require()
        request = Request(
            target=options["target"],
            lost_regions=frozenset(options["lost_regions"]),
            connect_seconds=options["connect_seconds"],
            check=True,
        )

        def of(store: Store) -> list[Check]:
            return checks(store, request, store.rpo_seconds or options["most_lag_seconds"])

        return result(call.run, [check for many in failover.at_once(of, stores_of(options)) for check in many])
