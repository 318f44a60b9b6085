# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""(e) Twenty databases in one run against one, all primaries killed; and what memory the controller takes for it."""

from __future__ import annotations

import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.many import Database, databases, inventory
from tests.support.memory import Memory
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
    samples = memory.end()
    if process.returncode != 0 or not all(database.is_primary(database.east) for database in made):
        raise RuntimeError(output)
    return Measured(seconds, max(sample.mib for sample in samples))
