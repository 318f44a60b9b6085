# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback plugin of the tests that makes one step fail, hang or lie, and the controller's clock jump.

Ansible loads it in its main process before it forks for the first task, so that what it wraps is wrapped in every
worker. Nothing of the collection knows of it. RECOVERY_DOUBLE names a file with what
to do; tests/support/double.py writes it.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

from ansible_collections.platform.recovery.plugins.module_utils.errors import StepFailed
from ansible_collections.platform.recovery.plugins.plugin_utils import action

DOCUMENTATION = """
name: step_double
type: aggregate
short_description: Make steps fail, hang or lie
description: Only for tests.
"""

Act = Callable[[Any], dict[str, Any]]


def fail(_: Act, call: Any) -> dict[str, Any]:
    """Break before anything is done."""
    del call
    raise StepFailed("broken on purpose", wanted="a step that works", observed="a double", next_action="run it again")


def hang(_: Act, call: Any) -> dict[str, Any]:
    """Never come back."""
    del call
    while True:
        threading.Event().wait(3600)


def lie(act: Act, call: Any) -> dict[str, Any]:
    """Look, change nothing, and say that all was done."""
    found = act(dataclasses.replace(call, check=True))
    return {**found, "changed": True}


DOUBLES = {"fail": fail, "hang": hang, "lie": lie}


class Plan:
    """What to do at which step, and where to write down who was called."""

    def __init__(self, path: Path) -> None:
        content = json.loads(path.read_text())
        self.step, self.fault = str(content["step"]), str(content["fault"])
        self.clock_seconds = float(content.get("clock_seconds") or 0)
        self.log = path.with_name("steps.jsonl")

    def called(self, name: str, **more: Any) -> None:
        """Write down one call; several hosts may be at it."""
        with self.log.open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            stream.write(json.dumps({"step": name, **more}) + "\n")


def wrapped(run: Callable[..., dict[str, Any]], plan: Plan) -> Callable[..., dict[str, Any]]:
    """Wrap the one way in which our actions are called."""

    def call(self: Any, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        name = self._task.get_name().removeprefix("platform.recovery.")
        plan.called(name, begun=True, check=bool(self._task.check_mode))
        if name == plan.step and plan.fault in DOUBLES:
            act = self.act
            self.act = lambda call: DOUBLES[plan.fault](act, call)
        result = run(self, tmp, task_vars)
        plan.called(name, begun=False, changed=bool(result.get("changed")))
        return result

    return call


def jump(plan: Plan) -> None:
    """Let the wall clock of this process and its workers jump once the step has begun; the monotonic one never does."""
    real, real_ns, log = time.time, time.time_ns, plan.log

    def by() -> float:
        begun = log.exists() and f'"step": "{plan.step}"' in log.read_text()
        return plan.clock_seconds if begun else 0

    time.time = lambda: real() + by()
    time.time_ns = lambda: real_ns() + int(by() * 1e9)


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Only its making counts."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "step_double"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        plan = Plan(Path(os.environ["RECOVERY_DOUBLE"]))
        action.RecoveryAction.run = wrapped(action.RecoveryAction.run, plan)
        if plan.clock_seconds:
            jump(plan)
