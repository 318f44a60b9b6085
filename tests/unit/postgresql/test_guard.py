# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whoever lost the lease fences nothing, promotes nothing, and undoes nothing either."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.action import postgresql_fence, postgresql_promote
from ansible_collections.platform.recovery.plugins.module_utils import service_manager
from ansible_collections.platform.recovery.plugins.module_utils.errors import StepFailed
from ansible_collections.platform.recovery.plugins.module_utils.lease import LeaseLost
from ansible_collections.platform.recovery.plugins.module_utils.postgresql import fence, promote
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.model import (
    Credentials,
    DatabaseView,
    Member,
    MemberState,
)
from ansible_collections.platform.recovery.plugins.plugin_utils.action import Call

WEST, EAST = Member("west", "w", "127.0.0.1", 1), Member("east", "e", "127.0.0.1", 1)
PRIMARY = MemberState("west", "w:1", reachable=True, in_recovery=False, read_only=True)
STANDBY = MemberState("east", "e:1", reachable=True, in_recovery=True)


def lost() -> None:
    raise LeaseLost("not ours any more", gate="lease")


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note every change that is made."""
    made: list[str] = []

    def note(name: str) -> Any:
        return lambda *_, **__: made.append(name)

    monkeypatch.setattr(service_manager, "stop_for_good", note("stop"))
    monkeypatch.setattr(fence, "release", note("release"))
    monkeypatch.setattr(fence.Drain, "prepare", lambda *_: None)
    monkeypatch.setattr(fence.Drain, "quiesce", note("quiesce"))
    monkeypatch.setattr(fence.Drain, "catch_up", lambda *_: 0)
    monkeypatch.setattr(fence.Drain, "compare", lambda *_: {})
    monkeypatch.setattr(fence.Drain, "leave_nothing_behind", note("signal"))
    monkeypatch.setattr(fence.Drain, "stop", note("stop"))
    monkeypatch.setattr(promote, "promote", note("promote"))
    monkeypatch.setattr(promote, "prove_write", note("write"))
    return made


def drain(guard: Any) -> fence.Drain:
    request = fence.FenceRequest("east", "switchover", guard=guard)
    return fence.Drain(fence.Situation(WEST, PRIMARY), EAST, Credentials("u", "p"), request)


def test_nothing_is_killed(done: list[str]) -> None:
    with pytest.raises(LeaseLost):
        fence.kill(fence.Situation(WEST, PRIMARY), fence.FenceRequest("east", "failover", guard=lost))
    assert done == []


def test_nothing_is_drained(done: list[str]) -> None:
    with pytest.raises(LeaseLost):
        drain(lost).run()
    assert done == []


def test_what_is_lost_in_the_middle_of_a_drain_is_left_to_the_next_holder(done: list[str]) -> None:
    answers = iter([lambda: None, lost])
    with pytest.raises(LeaseLost) as caught:
        drain(lambda: next(answers)()).run()
    assert done == ["quiesce"]
    assert caught.value.fields["changed"] is True
    assert "west was left read-only" in str(caught.value)


def test_any_other_failure_of_a_drain_still_lets_applications_write_again(
    done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Any) -> int:
        raise StepFailed("no")

    monkeypatch.setattr(fence.Drain, "catch_up", fail)
    with pytest.raises(StepFailed):
        drain(lambda: None).run()
    assert done == ["quiesce", "release"]


def call(guard: Any, *, check: bool = False, **options: Any) -> Call:
    return Call(options=options, check=check, diff=False, run=None, task_vars={}, template=str, guard=guard)


def test_nothing_is_promoted_and_a_plan_does_not_ask(done: list[str]) -> None:
    action = postgresql_promote.ActionModule.__new__(postgresql_promote.ActionModule)
    view = DatabaseView({"west": PRIMARY, "east": STANDBY})
    session: Any = None
    for name in ("east", "west"):
        with pytest.raises(LeaseLost):
            action._promote(call(lost, target=name), session, view, [], False)
    assert action._promote(call(lost, target="east"), session, view, [], True)["changed"]
    assert done == []


def test_no_primary_is_released(done: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql_fence.steps, "inputs", lambda _: ({}, Credentials("u", "p")))
    with pytest.raises(LeaseLost):
        postgresql_fence.release(call(lost), {"west": WEST}, {"west": PRIMARY})
    assert done == []
