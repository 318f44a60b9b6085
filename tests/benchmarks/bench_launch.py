# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""(c) From launch to the first acknowledged write through the edge, against a bare script of the same calls.

On the lab, primary killed each time, the two in turn. Beside: a switchover's outage, a second run's length, readiness.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.client import Client
from tests.support.platform import EAST, EDGE, ROOT, WEST, Ended, failover, lab, variables
from tests.support.quiet import wait_until_quiet

ROUNDS = 5
# A raw promotion now and then sleeps for wal_retrieve_retry_interval (5 s). To count that would flatter us.
STALL_SECONDS = 4.5


def bench() -> dict[str, Any]:
    """Measure by a client that is not the canary."""
    lab("up", ok=False)  # whatever an earlier run left: each round begins with a reset
    raw, ours, again, outages, checks = [], [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        sink = Path(folder)
        for _ in range(ROUNDS):
            raw.append(unstalled(lambda: first_write(raw_script)))
            ours.append(first_write(lambda: checked(failover(sink, **variables()))))
            begin = time.monotonic()
            checked(failover(sink, **variables()))
            again.append(time.monotonic() - begin)
            outages.append(switchover_outage(sink))
            checks.append(readiness(sink))
    lab("reset")
    extra = [a - b for a, b in zip(ours, raw, strict=True)]
    rows = [("seconds", "median", "all")]
    for name, figures in (
        ("raw script: launch to first write", raw),
        ("checklist: launch to first write", ours),
        ("more than the raw script", extra),
        ("second run, nothing to do", again),
        ("switchover: write outage", outages),
        ("readiness: every check of every role", checks),
    ):
        rows.append((name, f"{statistics.median(figures):.2f}", " ".join(f"{figure:.2f}" for figure in figures)))
    return {
        "rows": rows,
        "claims": [
            ("launch to first write, s", statistics.median(ours), 5.0),
            ("more than the raw script, s", statistics.median(extra), 3.0),
            ("second run, s", statistics.median(again), 5.0),
            ("switchover outage, s", statistics.median(outages), 2.4),
            ("readiness, s", statistics.median(checks), 5.0),
        ],
    }


def fresh_lab() -> None:
    """Give a healthy lab that has come to rest: none of it is to be measured that it takes to start."""
    lab("reset")
    wait_until_quiet()


def first_write(recover: Callable[[], None]) -> float:
    """Kill the primary under load, recover, and see when a client's write was acknowledged again."""
    fresh_lab()
    with Client(EDGE, f"bench-{uuid.uuid4().hex[:6]}") as client:
        client.wait_for(100)
        lab("break", "kill", f"{WEST}/postgresql")
        begin = time.time()
        recover()
        client.wait_for(5)
    return min(at for at in client.acknowledged.values() if at > begin) - begin


def unstalled(measure: Callable[[], float]) -> float:
    """Measure again what met the stall, and say so."""
    for _ in range(5):
        seconds = measure()
        if seconds < STALL_SECONDS:
            return seconds
        print(f"  the raw script met the stall of promotions ({seconds:.2f} s): not counted")
    raise RuntimeError("the raw script met the stall five times in a row")


def switchover_outage(sink: Path) -> float:
    """Switch over under load and give the longest time without an acknowledged write."""
    fresh_lab()
    with Client(EDGE, f"bench-{uuid.uuid4().hex[:6]}") as client:
        client.wait_for(100)
        checked(failover(sink, **variables(recovery_mode="switchover")))
        client.wait_for(20)
    return client.outage()


def readiness(sink: Path) -> float:
    """Check a healthy platform; gives how long that took."""
    fresh_lab()
    begin = time.monotonic()
    checked(failover(sink, playbook="readiness", recovery_target=EAST))
    return time.monotonic() - begin


def checked(ended: Ended) -> None:
    """A benchmark of a failed run would be a lie."""
    if ended.code != 0:
        raise RuntimeError(ended.output)


def raw_script() -> None:
    """The same calls in a bare script, in a process of its own, as an operator would have prepared it."""
    subprocess.run([sys.executable, "-m", "tests.benchmarks.raw_failover", EAST], cwd=ROOT, check=True)
