# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take in what people say who have to accept the platform as it is now."""

from __future__ import annotations

from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput
from ansible_collections.platform.recovery.plugins.module_utils.validation import acceptance
from ansible_collections.platform.recovery.plugins.module_utils.validation.model import overall
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction
from ansible_collections.platform.recovery.plugins.plugin_utils.validation import record


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "platform_acceptance"
    MAPS = frozenset({"acceptors", "statements"})

    def act(self, call: Call) -> dict[str, Any]:
        """Judge every statement, and name who has not made one."""
        acceptors, statements = call.options["acceptors"], call.options["statements"]
        strangers = sorted(set(statements) - set(acceptors))
        if strangers:
            raise BadInput(
                f"{', '.join(strangers)} is not among those who are asked",
                wanted=f"statements of {', '.join(acceptors) or 'nobody'}",
                next_action="correct the name, or ask them as well",
            )
        run_id = call.run.id if call.run else ""
        findings = acceptance.judge(run_id, acceptors, statements)
        if not call.check:
            record(call, findings)
        pending = [finding.name for finding in findings if finding.verdict == "pending"]
        return {
            "verdict": overall(findings),
            "pending": pending,
            "to_sign": {
                name: acceptance.to_sign(run_id, name, "accepted", (statements.get(name) or {}).get("statement") or "")
                for name in pending
                if acceptors[name]["keys"]
            },
            "lines": [finding.line for finding in findings],
            "next_actions": [
                f"ask {finding.name} for acceptance ({finding.observed})"
                for finding in findings
                if finding.verdict == "pending"
            ]
            + [f"settle with {finding.name} what was rejected" for finding in findings if finding.verdict == "failed"],
        }
