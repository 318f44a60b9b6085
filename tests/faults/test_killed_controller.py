# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller dies anywhere in the checklist; the same call again converges, and nothing ever has two writers."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.platform import EAST, ROOT, WEST, Ended, command, environment, failover, lab, servers, sql, variables

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("healthy")]

# The seeded slice of CI kills where most can go wrong; the campaign kills in every phase, at a random moment of it.
IN_CI = ("fence", "promote")
PHASES = ("confirm", "fence", "promote", "configure", "restart", "verify", "replication", "rejoin")
SEED = int(os.environ.get("RECOVERY_FAULTS_SEED", "1"))


def begun(journal: Path, phase: str) -> bool:
    return journal.exists() and f'"phase":"{phase}"' in journal.read_text().replace(" ", "")


def killed_in(phase: str, delay: float, sink: Path, run_id: str, mode: str) -> None:
    argv = command(run_id, sink, variables(recovery_mode=mode))
    process = subprocess.Popen(
        argv, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not begun(sink / run_id / "journal.jsonl", phase) and process.poll() is None:
        assert time.monotonic() < deadline, f"phase {phase} never began"
    time.sleep(delay)
    assert process.poll() is None, f"the run ended before it could be killed in {phase}"
    for pid in tree(process.pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def tree(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    found = [int(child) for child in children.read_text().split()] if children.exists() else []
    return [pid, *(below for child in found for below in tree(child))]


def writers() -> list[str]:
    found = []
    for region in (WEST, EAST):
        runs = servers()[f"{region}/postgresql"]["state"] == "running"
        if runs and sql(region, "SELECT pg_is_in_recovery()", inside=True) == [(False,)]:
            found.append(region)
    return found


def converged(ended: Ended) -> None:
    assert ended.code in (0, 3), ended.output
    assert ended.report["outcome"] == "recovered"
    assert writers() == [EAST]
    services = {"user-service", "tenant-service", "plugin-service", "ai-service"}
    connected = sql(EAST, "SELECT DISTINCT application_name FROM pg_stat_activity WHERE usename = 'platform_app'")
    assert {row[0] for row in connected} == services


@pytest.mark.parametrize(
    "phase", [phase if phase in IN_CI else pytest.param(phase, marks=pytest.mark.slow) for phase in PHASES]
)
@pytest.mark.parametrize("mode", ["failover", pytest.param("switchover", marks=pytest.mark.slow)])
def test_a_run_killed_in_a_phase_converges_when_run_again(tmp_path: Path, phase: str, mode: str) -> None:
    if mode == "failover":
        lab("break", "kill", f"{WEST}/postgresql")
    delay = random.Random(f"{SEED}-{phase}-{mode}").uniform(0, 0.3)
    killed_in(phase, delay, tmp_path, "killed", mode)
    assert len(writers()) <= 1
    converged(failover(tmp_path, run_id="killed", **variables(recovery_mode=mode)))
    again = failover(tmp_path, **variables(recovery_mode=mode))
    assert again.code == 0, again.output
    assert not [record for record in again.journal if record["event"] == "action" and record["data"].get("changed")]


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(10))
def test_ten_switchovers_lose_nothing(tmp_path: Path, turn: int) -> None:
    from tests.integration.checklists.test_failover import (
        test_a_switchover_under_load_loses_no_acknowledged_write as switchover,
    )

    switchover(tmp_path / str(turn))
