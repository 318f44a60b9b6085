# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same checklist through the Python API and cancelled from another process, on real servers."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

import platform_recovery
from tests.support.client import Client
from tests.support.killer import below
from tests.support.platform import BIN, EAST, EDGE, ROOT, WEST, canary, failover, lab, sql, variables

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("healthy")]


def test_another_program_gets_events_as_they_happen_and_a_typed_result(tmp_path: Path) -> None:
    with canary(tmp_path / "canary", "embedded"), Client(EDGE, "beside") as client:
        client.wait_for(50)
        lab("break", "kill", f"{WEST}/postgresql")
        run = platform_recovery.start(
            "database-failover",
            inventory=str(ROOT / "inventories/lab"),
            mode="failover",
            target=EAST,
            confirm=EAST,
            variables={"recovery_journal": f"file:{tmp_path}", "recovery_canary_folder": str(tmp_path / "canary")},
            cwd=ROOT,
        )
        events = list(run.events())
        result = run.wait()
    assert result.outcome == "recovered", (result.failures, result.decisions)
    assert result.exit_code == 0
    begun = [event.phase for event in events if isinstance(event, platform_recovery.PhaseStarted)]
    assert begun == ["confirm", "fence", "promote", "configure", "restart", "verify", "replication", "rejoin"]
    assert [objective.met for objective in result.objectives] == [True, True]
    assert sql(EAST, "SELECT pg_is_in_recovery()") == [(False,)]


def test_a_cancelled_run_ends_its_work_and_converges_when_run_again(tmp_path: Path) -> None:
    lab("break", "kill", f"{WEST}/postgresql")
    argv = [BIN / "recovery", "run", "database-failover", "--inventory", "inventories/lab", "--target", EAST]
    argv += ["--confirm", EAST, "--journal", f"file:{tmp_path}", "--run-id", "cancelled", "--json"]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        journal = tmp_path / "cancelled/journal.jsonl"
        deadline = time.monotonic() + 60
        while not (journal.exists() and "phase_started" in journal.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        work = {pid for pid in below(process.pid) if b"ansible-playbook" in cmdline(pid)}
        assert work, "the playbook and its workers are below the CLI"
        cancel = [BIN / "recovery", "cancel", "cancelled", "--journal", f"file:{tmp_path}"]
        subprocess.run(cancel, cwd=ROOT, check=True, capture_output=True)
        printed, _ = process.communicate(timeout=60)
    assert process.returncode == 5, printed
    assert json.loads(printed)["outcome"] == "cancelled"
    assert [pid for pid in work if b"ansible-playbook" in cmdline(pid)] == []
    again = failover(tmp_path, **variables())
    assert again.code == 0, again.output
    assert again.report["exit_code"] in (0, 3)
    assert sql(EAST, "SELECT pg_is_in_recovery()") == [(False,)]


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
