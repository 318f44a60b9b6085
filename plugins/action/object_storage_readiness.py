# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check whether the buckets of another region could take over right now."""

from __future__ import annotations

from functools import partial
from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.object_storage import api
from ansible_collections.platform.recovery.plugins.module_utils.object_storage.model import stores_of
from ansible_collections.platform.recovery.plugins.module_utils.object_storage.readiness import checks
from ansible_collections.platform.recovery.plugins.module_utils.readiness import result
from ansible_collections.platform.recovery.plugins.module_utils.side_by_side import at_once
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "object_storage_readiness"
    MAPS = frozenset({"stores", "stores.members", "credentials"})

    def act(self, call: Call) -> dict[str, Any]:
        """Ask both sides of every store, and judge."""
        api.require()
        found = at_once(partial(checks, target=call.options["target"]), stores_of(call.options))
        return result(call.run, [check for many in found for check in many])
