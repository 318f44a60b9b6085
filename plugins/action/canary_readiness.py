# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check whether a canary could write and be read back right now."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils import canary_readiness as readiness
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.client import Session
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.model import Credentials, Member
from ansible_collections.platform.recovery.plugins.module_utils.readiness import result
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "canary_readiness"

    def act(self, call: Call) -> dict[str, Any]:
        """Ask the edge and the member that the rows would be read back from."""
        options = call.options
        path = options["path"] or f"/v1/{options['service']}/rows"
        limits = (options["ca_file"], options["authorization"], options["timeout_seconds"])
        checks = [readiness.edge_check(readiness.Edge(options["url"], path, *limits))]
        if options["folder"]:
            checks.append(readiness.own_check(Path(options["folder"]).expanduser().absolute()))
        account = options["credentials"]
        member = Member(**{key: value for key, value in options["member"].items() if value is not None})
        with closing(
            Session(member, Credentials(account["user"], account["password"]), options["database"])
        ) as session:
            table, column = options["table"], options["key_column"]
            checks.append(readiness.read_back_check(options["name"], session, table, column))
        return result(call.run, checks)
