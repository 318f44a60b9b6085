# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mirror Kafka clusters to a region that was lost, once it is back."""

from __future__ import annotations

from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.kafka.failover import Request
from ansible_collections.platform.recovery.plugins.module_utils.kafka.model import stores_of
from ansible_collections.platform.recovery.plugins.module_utils.kafka.reprotect import line, reprotect
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "kafka_reprotect"
    MAPS = frozenset({"stores", "stores.members", "credentials"})

    def act(self, call: Call) -> dict[str, Any]:
        """Look, then do what is missing."""
        options = call.options
        request = Request(
            target=options["target"],
            timeout_seconds=options["timeout_seconds"],
            connect_seconds=options["connect_seconds"],
            stop_seconds=options["stop_seconds"],
            check=call.check,
            guard=call.guard,
        )
        outcomes = reprotect(stores_of(options), request)
        lines = [line(one, request) for one in outcomes]
        lines += [f"{one.store}: {note}" for one in outcomes for note in one.notes]
        if call.run and not call.check:
            for one in outcomes:
                own = [text for text in lines if text.startswith(f"{one.store}:")]
                call.run.journal.append(
                    "action", what="kafka reprotect", target=one.store, changed=one.changed, lines=own
                )
        return {
            "changed": any(one.changes if call.check else one.changed for one in outcomes),
            "target": request.target,
            "stores": {one.store: one.as_dict() for one in outcomes},
            "lines": lines,
            "next_actions": [],
        }
