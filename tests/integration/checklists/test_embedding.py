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
from tests.support.platform import BIN, EAST, ROOT, WEST, failover, lab, sql, variables

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("healthy")]


def test_another_program_gets_events_as_they_happen_and_a_typed_result(tmp_path: Path) -> None:
    lab("break", "kill", f"{WEST}/postgresql")
    run = platform_recovery.start(
        "database-failover",
        inventory=str(ROOT / "inventories/lab"),
        mode="failover",
        target=EAST,
        confirm=EAST,
        variables={"recovery_journal": f"file:{tmp_path}"},
        cwd=ROOT,
    )
    events = list(run.events())
    result = run.wait()
    assert result.outcome == "recovered"
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
        cancel = [BIN / "recovery", "cancel", "cancelled", "--journal", f"file:{tmp_path}"]
        subprocess.run(cancel, cwd=ROOT, check=False, capture_output=True)
        printed, _ = process.communicate(timeout=60)
    assert process.returncode == 5, printed
    assert json.loads(printed)["outcome"] == "cancelled"
    mine = str(tmp_path)
    alive = [p for p in Path("/proc").glob("[0-9]*") if mine.encode() in cmdline(p) and b"canary" not in cmdline(p)]
    assert alive == []
    again = failover(tmp_path, **variables())
    assert again.code in (0, 3), again.output
    assert sql(EAST, "SELECT pg_is_in_recovery()") == [(False,)]


def cmdline(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""
