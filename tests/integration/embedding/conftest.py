# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real runs of a small checklist, each in a working folder of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import platform_recovery
from platform_recovery.processes import Process, of_run

HERE = Path(__file__).parent
RUNNER = HERE.parents[2] / "runner"


@dataclass(frozen=True)
class Place:
    """Where a test runs its checklist."""

    cwd: Path
    playbook: str = str(HERE / "checklist.yml")
    inventory: str = str(HERE / "hosts.yml")

    def start(self, **wish: Any) -> platform_recovery.Run:
        return platform_recovery.start(**self._call(wish))

    def run(self, **wish: Any) -> platform_recovery.Result:
        return platform_recovery.run(**self._call(wish))

    def command(self, *arguments: str) -> list[str]:
        """Give the command line of the CLI."""
        return [sys.executable, "-m", "platform_recovery", *arguments]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(RUNNER)}

    def _call(self, wish: dict[str, Any]) -> dict[str, Any]:
        return {"playbook": self.playbook, "inventory": self.inventory, "cwd": self.cwd, **wish}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    yield Place(tmp_path)
    left = list(Path("/dev/shm").glob(f"platform-recovery-{os.getpid()}-*"))
    assert left == [], "a private folder was left behind"


def processes(run: platform_recovery.Run) -> set[Process]:
    """Find what is alive of a run."""
    return of_run(run._mark)
