# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have one step of a checklist fail, hang or lie: the outer half of tests/faults/doubles/step_double.py."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tests.support.platform import ROOT, environment

FAULTS = ("fail", "hang", "lie")
PLUGINS = ROOT / "tests/faults/doubles"


@dataclass(frozen=True)
class Called:
    """A step as it was called in a run."""

    step: str
    check: bool
    changed: bool


@dataclass(frozen=True)
class Double:
    """One step, and what becomes of it. An empty step only listens."""

    folder: Path
    step: str = ""
    fault: str = ""
    clock_seconds: float = 0

    def environment(self) -> dict[str, str]:
        """Give the environment of a run with it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        plan = self.folder / "plan.json"
        plan.write_text(json.dumps({"step": self.step, "fault": self.fault, "clock_seconds": self.clock_seconds}))
        more = {"ANSIBLE_CALLBACK_PLUGINS": str(PLUGINS), "ANSIBLE_CALLBACKS_ENABLED": "step_double"}
        return {**environment(), **more, "RECOVERY_DOUBLE": str(plan)}

    def lines(self) -> list[dict[str, object]]:
        """Give what was heard so far."""
        log = self.folder / "steps.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def begun(self) -> bool:
        """Whether the step was called."""
        return any(line["step"] == self.step for line in self.lines())

    def steps(self) -> list[Called]:
        """Give each step once, in the order in which they were called first; changed where any call of it changed."""
        found: dict[str, Called] = {}
        for line in self.lines():
            name = str(line["step"])
            before = found.get(name, Called(name, bool(line.get("check")), False))
            found[name] = Called(name, before.check, before.changed or bool(line.get("changed")))
        return list(found.values())
