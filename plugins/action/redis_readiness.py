# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check whether Redis stores could be moved to another region right now."""

from __future__ import annotations

from functools import partial
from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.readiness import result
from ansible_collections.platform.recovery.plugins.module_utils.redis import client
from ansible_collections.platform.recovery.plugins.module_utils.redis.decide import Wish
from ansible_collections.platform.recovery.plugins.module_utils.redis.model import MAPS, stores_of
from ansible_collections.platform.recovery.plugins.module_utils.redis.readiness import checks
from ansible_collections.platform.recovery.plugins.module_utils.side_by_side import at_once
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "redis_readiness"
    MAPS = MAPS

    def act(self, call: Call) -> dict[str, Any]:
        """Ask everybody, and judge."""
        options = call.options
        client.require()
        wish = Wish(
            target=options["target"],
            mode="switchover",
            lost_regions=frozenset(options["lost_regions"]),
            most_lag_bytes=options["most_lag_bytes"],
        )
        look = partial(checks, wish=wish, seconds=options["connect_seconds"])
        return result(call.run, [check for many in at_once(look, stores_of(options)) for check in many])
