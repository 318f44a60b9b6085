# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scale many workloads, remember their former sizes, wait until their pods are gone or ready."""

from __future__ import annotations

from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.apart import Options, apart
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.fleet import opened
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.progress import (
    progress_of,
    record,
    record_lost,
)
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.scale import scale
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "workload_scale"
    MAPS = frozenset({"clusters", "databases.clusters"})

    def act(self, call: Call) -> dict[str, Any]:
        """Observe, plan, patch what differs, watch."""
        wanted = size(call.options["replicas"])

        def work(options: Options, database: str) -> dict[str, Any]:
            with opened(options, check=call.check, guard=call.guard) as (fleet, targets):
                record_lost(call.run, "scale", fleet.lost, options["reason"], check=call.check)
                return scale(fleet, targets, wanted, progress_of(call.run, "scale", database))

        result, failures = apart(call.options, work)
        if not call.diff:
            del result["diff"]
        record(call.run, "scale", f"{result['total']} workloads", result, check=call.check)
        return call.with_failures(result, failures)


def size(text: str) -> int | None:
    """Read the size wanted; None stands for the remembered one."""
    if text == "remembered":
        return None
    if text.isascii() and text.isdigit():
        return int(text)
    raise BadInput(
        f"replicas: got {text!r}",
        wanted="a whole number, or the word remembered",
        next_action="correct the value and run again; nothing was touched",
    )
