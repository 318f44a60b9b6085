# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that takes an hour, because a standby is rebuilt over a slow line: it comes to its end, and does not grow."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from recovery_lab import addresses, network
from tests.integration.checklists.test_failback import data_folder, protected
from tests.support import ledger
from tests.support.memory import Memory, Sample
from tests.support.platform import EAST, ROOT, WEST, Ended, command, environment, failover, lab, sql, variables

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("healthy"), pytest.mark.slow]

SECONDS = float(os.environ.get("RECOVERY_FAULTS_LONG_SECONDS", "3600"))
# All that the controller may hold, and what it may hold at the end more than at the begin.
MOST_MIB, GROWTH_MIB = 200, 8


@contextmanager
def line_of(kib_per_second: int) -> Iterator[None]:
    """Limit what the east's server can send to the database host in the west."""
    ways = addresses.links([WEST, EAST], {"postgresql"})
    [link] = [way.name for way in ways if (way.origin, way.target) == (f"{WEST}/postgresql", f"{EAST}/postgresql")]
    toxic = {"name": "narrow", "type": "bandwidth", "stream": "downstream", "attributes": {"rate": kib_per_second}}
    network.call("POST", f"/proxies/{link}/toxics", toxic)
    try:
        yield
    finally:
        network.call("DELETE", f"/proxies/{link}/toxics/narrow")


def watched(sink: Path) -> tuple[Ended, list[Sample]]:
    """Take the old primary back where the new one is, and see what memory that takes all the time."""
    wish = {"recovery_target": EAST, "recovery_confirm": EAST}
    process = subprocess.Popen(
        command("long", sink, wish, playbook="database_failback"),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    memory = Memory(process.pid, every_seconds=2)
    output, _ = process.communicate(timeout=SECONDS * 2 + 600)
    return Ended(process.returncode, output, sink / "long"), memory.end()


@pytest.mark.timeout(SECONDS * 2 + 900)
def test_a_run_of_an_hour_ends_well_and_does_not_grow(tmp_path: Path, tell: Callable[[str], None]) -> None:
    lab("break", "kill", f"{WEST}/postgresql")
    assert failover(tmp_path, **variables()).code == 0
    shutil.rmtree(data_folder(WEST))
    size = sum(
        file.stat().st_size for file in data_folder(EAST).rglob("*") if file.is_file() and "pg_wal" not in file.parts
    )
    with line_of(max(1, round(size / 1024 / SECONDS))):
        ended, samples = watched(tmp_path)
    assert ended.code == 0, ended.output
    protected(EAST, WEST)
    assert sql(WEST, "SELECT pg_is_in_recovery()") == [(True,)]
    took, most = samples[-1].seconds, max(sample.mib for sample in samples)
    assert took > SECONDS / 2
    # What it needs to start is not yet held in the first tenth, and the last one has the end's own work.
    early, late = (
        statistics.median(sample.mib for sample in samples if begin <= sample.seconds / took < end)
        for begin, end in ((0.1, 0.2), (0.8, 0.9))
    )
    tell(f"a run of {took:.0f} s: {early:.0f} MiB in its second tenth, {late:.0f} in its ninth, {most:.0f} at the most")
    ledger.note(
        "A run of an hour",
        f"{SECONDS:.0f} s",
        "ok" if late - early <= GROWTH_MIB else f"grew from {early} to {late} MiB",
    )
    assert late - early <= GROWTH_MIB
    assert most <= MOST_MIB
