# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check whether the platform's performance could be compared after an event."""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.readiness import result
from ansible_collections.platform.recovery.plugins.module_utils.validation.load import Load
from ansible_collections.platform.recovery.plugins.module_utils.validation.readiness import checks
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "platform_validation_readiness"

    def act(self, call: Call) -> dict[str, Any]:
        """Look, and judge."""
        options = call.options
        load = Load.of(options)
        made = checks(options["memory"], load, options["generator"], options["most_days"], time.time())
        return result(call.run, made)
