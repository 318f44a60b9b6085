# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""(e) Twenty databases in one run against one, all primaries killed; and what memory the controller takes for it.

Three times over, each with databases of its own: the median of the ratios, the most memory of all.
"""

from __future__ import annotations

import statistics
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
ROUNDS = 3


@dataclass(frozen=True)
class Measured:
    """One run: how long it took, and the most memory that it and its workers held at a time."""

    seconds: float
    resident_mib: float


def bench() -> dict[str, Any]:
    """Lose one and recover it, then lose twenty others and recover them, several times."""
    lab("up", ok=False)
    lab("reset")
    rounds = [one_round() for _ in range(ROUNDS)]
    return {
        "rows": [
            ("databases", "seconds", "MiB of the controller and its workers"),
            row(1, [one for one, _ in rounds]),
            row(COUNT, [many for _, many in rounds]),
        ],
        "claims": [
            (
                "twenty databases against one",
                statistics.median(many.seconds / one.seconds for one, many in rounds),
                3.0,
            ),
            (
                "memory of the controller and its workers, MiB",
                max(many.resident_mib for _, many in rounds),
                200.0,
            ),
        ],
    }


def one_round() -> tuple[Measured, Measured]:
    """Give one database and twenty."""
    with tempfile.TemporaryDirectory() as folder, databases(COUNT + 1) as made:
        return recover(made[:1], Path(folder) / "one"), recover(made[1:], Path(folder) / "many")


def row(count: int, found: list[Measured]) -> tuple[str, str, str]:
    """Write the rounds of one number of databases."""
    seconds = " ".join(f"{one.seconds:.2f}" for one in found)
    return str(count), seconds, " ".join(f"{one.resident_mib:.0f}" for one in found)


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
