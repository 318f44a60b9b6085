# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait by watch until many workloads are rolled out and ready."""

from __future__ import annotations

from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.clock import parse
from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.apart import Options, apart
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.fleet import opened
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.progress import (
    progress_of,
    record,
    record_lost,
)
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.rollout import rollout
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "workload_rollout"
    MAPS = frozenset({"clusters", "databases.clusters"})

    def act(self, call: Call) -> dict[str, Any]:
        """Watch until all are ready; restart first what is asked to be restarted."""
        since = restart_since(call.options)

        def work(options: Options, database: str) -> dict[str, Any]:
            with opened(options, check=call.check, guard=call.guard) as (fleet, targets):
                record_lost(call.run, "restart", fleet.lost, options["reason"], check=call.check)
                progress = progress_of(call.run, "restart", database)
                return rollout(fleet, targets, restart_since=since, progress=progress)

        result, failures = apart(call.options, work)
        record(call.run, "restart", f"{result['total']} workloads", result, check=call.check)
        return call.with_failures(result, failures)


def restart_since(options: dict[str, Any]) -> str | None:
    """Give the moment before which nothing may have been started, if a restart is asked for."""
    if not options["restart"]:
        return None
    since = options["restart_since"]
    try:
        parse(since or "")
    except ValueError:
        raise BadInput(
            f"restart_since: got {since!r}",
            wanted="an RFC 3339 stamp; without one, every run would restart everything again",
            next_action="give the moment of the change that the processes must have seen, e.g. of the promotion",
        ) from None
    return str(since)
