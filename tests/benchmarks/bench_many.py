# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""(e) Twenty databases in one run against one, all primaries killed; and what memory the controller takes for it."""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recovery_lab.pods import resident_kib
from tests.support.killer import below
from tests.support.many import Database, databases, inventory
from tests.support.platform import ROOT, command, environment, lab, variables

COUNT = 20


@dataclass(frozen=True)
class Measured:
    """One run: how long it took, and the most memory that it and its workers held at a time."""

    seconds: float
    resident_mib: float


def bench() -> dict[str, Any]:
    """Lose one and recover it, then lose twenty others and recover them."""
    lab("up", ok=False)
    lab("reset")
    with tempfile.TemporaryDirectory() as folder, databases(COUNT + 1) as made:
        one = recover(made[:1], Path(folder) / "one")
        many = recover(made[1:], Path(folder) / "many")
    return {
        "rows": [
            ("databases", "seconds", "MiB of the controller and its workers"),
            ("1", f"{one.seconds:.2f}", f"{one.resident_mib:.0f}"),
            (str(COUNT), f"{many.seconds:.2f}", f"{many.resident_mib:.0f}"),
        ],
        "claims": [
            ("twenty databases against one", many.seconds / one.seconds, 3.0),
            ("memory of the controller and its workers, MiB", many.resident_mib, 200.0),
        ],
    }


def recover(made: list[Database], folder: Path) -> Measured:
    """Kill all primaries and recover them in one run, whose end is asked of the servers themselves."""
    folder.mkdir()
    place = inventory(made, folder)
    for database in made:
        database.west.act("kill")
    begin = time.monotonic()
    process = subprocess.Popen(
        command("run", folder, variables(), place),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    memory = Memory(process.pid)
    output, _ = process.communicate(timeout=300)
    seconds = time.monotonic() - begin
    if process.returncode != 0 or not all(database.is_primary(database.east) for database in made):
        raise RuntimeError(output)
    return Measured(seconds, memory.most_mib())


class Memory:
    """Watches what a process and all that it started hold, each page that they share counted once."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._most = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def most_mib(self) -> float:
        """End, and give the most that was seen."""
        self._over.set()
        self._thread.join()
        return self._most / 1024

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            self._most = max(self._most, sum(resident_kib(pid) for pid in below(self._pid)))
