# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Call the action plugins the way their base class does, in this process."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ansible_collections.platform.recovery.plugins.action import (
    postgresql_fence,
    postgresql_integrity,
    postgresql_observe,
    postgresql_promote,
    postgresql_readiness,
    postgresql_rejoin,
)
from ansible_collections.platform.recovery.plugins.module_utils import schema
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call
from tests.integration.postgresql.servers import PASSWORD

ACTIONS = {
    "observe": postgresql_observe.ActionModule,
    "fence": postgresql_fence.ActionModule,
    "promote": postgresql_promote.ActionModule,
    "integrity": postgresql_integrity.ActionModule,
    "readiness": postgresql_readiness.ActionModule,
    "rejoin": postgresql_rejoin.ActionModule,
}


class Journal:
    """Keeps what is journalled."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def append(self, event: str, **data: Any) -> None:
        self.records.append({"event": event, **data})

    def verdict(self, gate: str) -> str:
        return str(next(record["verdict"] for record in self.records if record.get("gate") == gate))


def call(verb: str, *, check: bool = False, journal: Journal | None = None, **arguments: Any) -> dict[str, Any]:
    """Validate the arguments against the documentation and act."""
    kind: Any = ACTIONS[verb]
    given = {"credentials": {"user": "postgres", "password": PASSWORD}, "target": "east", **arguments}
    options, problems = schema.Validator(maps=kind.MAPS).check(kind.OPTIONS, given)
    assert not problems, [str(problem) for problem in problems]
    run: Any = SimpleNamespace(id="test-run", journal=journal) if journal else None
    action = kind.__new__(kind)
    result = {
        "changed": False,
        **action.act(Call(options=options, check=check, diff=False, run=run, task_vars={}, template=str)),
    }
    assert PASSWORD not in repr(result)
    return result
