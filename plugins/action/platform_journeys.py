# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Use the platform from end to end, through the name that its clients use."""

from __future__ import annotations

from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput
from ansible_collections.platform.recovery.plugins.module_utils.validation import journeys
from ansible_collections.platform.recovery.plugins.module_utils.validation.front import Front
from ansible_collections.platform.recovery.plugins.module_utils.validation.model import overall
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call, RecoveryAction
from ansible_collections.platform.recovery.plugins.plugin_utils.validation import record, stamp


class ActionModule(RecoveryAction):
    """See the module of the same name."""

    MODULE = "platform_journeys"
    MAPS = frozenset({"journeys"})

    def act(self, call: Call) -> dict[str, Any]:
        """Make all journeys, journal what each came to, and fail if one did."""
        front, wanted = Front.of(call.options), journeys.journeys_of(call.options)
        if not wanted or not all(journey.steps for journey in wanted):
            raise BadInput(
                "There is a journey without a step" if wanted else "There is no journey",
                wanted="journeys, each with steps",
                next_action="describe what users do with the platform, and run again; nothing was asked",
            )
        if call.check:
            lines = [f"journey {one.name}: {', '.join(step.words for step in one.steps)}" for one in wanted]
            record(call, [], lines)
            return {"verdict": "unknown", "journeys": {}, "lines": lines}
        made = journeys.travel_all(front, wanted, stamp(call), call.options["timeout_seconds"])
        findings = [one.finding() for one in made]
        stores = journeys.stores_finding(made, call.options["stores"])
        findings += [stores] if stores else []
        record(call, findings)
        error = journeys.failure(findings)
        result = {
            "verdict": overall(findings),
            "journeys": {
                one.name: {
                    "verdict": "failed" if one.trouble else "passed",
                    "seconds": one.seconds,
                    "stores": list(one.stores),
                    "trouble": one.trouble,
                    "steps": [dict(step) for step in one.steps],
                }
                for one in made
            },
            "lines": [finding.line for finding in findings],
        }
        if error:
            error.fields.update(result)
            raise error
        return result
