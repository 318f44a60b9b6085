# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a promotion asks before it: a fence that reported more than it did must not lead to two writers."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.action import postgresql_promote
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.model import MemberState

OPTIONS: dict[str, Any] = {
    "members": {name: {"host": f"{name}.example.com"} for name in ("east", "west")},
    "credentials": {"user": "postgres", "password": "planted-password"},
    "target": "east",
    "connect_seconds": 1.5,
    "statement_seconds": 1.5,
    "memory": None,
}


class Asked:
    """A session that only remembers for how long its server would have been waited for."""

    patience: dict[str, float]

    def __init__(self, member: Any, *_: Any, connect_seconds: float, **__: Any) -> None:
        self.member = member
        self.patience[member.name] = connect_seconds

    def close(self) -> None:
        """Nothing was opened."""


@pytest.mark.parametrize(
    ("fenced", "answers", "why_not", "seconds"),
    [
        ("stopped", False, "fenced: it is stopped", 0.3),
        ("stopped", True, None, 0.3),
        ("statement", False, "no route", 0.3),
        (None, False, "no route", 1.5),
    ],
)
def test_a_member_that_is_said_to_be_stopped_is_asked_all_the_same(
    monkeypatch: pytest.MonkeyPatch, fenced: str | None, answers: bool, why_not: str | None, seconds: float
) -> None:
    Asked.patience = {}

    def look(session: Any) -> MemberState:
        name = session.member.name
        reachable = name == "east" or answers
        return MemberState(
            name, "endpoint", reachable=reachable, why_not=None if reachable else "no route", in_recovery=name == "east"
        )

    monkeypatch.setattr(postgresql_promote, "Session", Asked)
    monkeypatch.setattr(postgresql_promote.observe, "look_at", look)
    action = postgresql_promote.ActionModule.__new__(postgresql_promote.ActionModule)
    options = {**OPTIONS, "fenced": {"west": fenced} if fenced else {}}
    target = type("Target", (), {"member": type("Member", (), {"name": "east"})})()
    view = action._view(options, target)
    assert (view.members["west"].reachable, view.members["west"].why_not) == (answers, why_not)
    assert Asked.patience == {"west": seconds}
