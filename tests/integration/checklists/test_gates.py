# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lease and approvals on a real platform: one controller works, and only on what people agreed to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.checklists.test_refusals import changed_inventory, recovery, standing
from tests.support.keys import make_key, public
from tests.support.platform import BIN, EAST, ROOT, WEST, command, environment, failover, lab, sql, variables

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("healthy")]

DESCRIPTION = ROOT / "inventories/lab/group_vars/all/platform.yml"


def begin(sink: Path, run_id: str, **wish: Any) -> subprocess.Popen[str]:
    argv = command(run_id, sink, variables(**wish))
    return subprocess.Popen(
        argv, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip


def report(sink: Path, run_id: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((sink / run_id / "report.json").read_text())
    return content


def test_of_two_controllers_started_together_one_recovers_and_the_other_names_it(tmp_path: Path) -> None:
    lab("break", "kill", f"{WEST}/postgresql")
    sinks = {run_id: tmp_path / run_id for run_id in ("one", "two")}
    started = {run_id: begin(sink, run_id) for run_id, sink in sinks.items()}
    outputs = {run_id: process.communicate(timeout=240)[0] for run_id, process in started.items()}
    reports = {run_id: report(sink, run_id) for run_id, sink in sinks.items()}
    [works] = [run_id for run_id, made in reports.items() if made["outcome"] == "recovered"]
    [other] = [run_id for run_id in reports if run_id != works]
    assert reports[other]["exit_code"] == 4, outputs[other]
    assert not reports[other]["changed"]
    [refusal] = [entry for entry in reports[other]["decisions"] if entry["gate"] == "lease"]
    assert f"run {works} (database-failover to {EAST})" in refusal["observed"]
    assert sql(EAST, "SELECT pg_is_in_recovery()", inside=True) == [(False,)]


def test_a_frozen_controller_is_taken_over_and_changes_nothing_when_it_wakes_up(tmp_path: Path) -> None:
    lab("break", "kill", f"{WEST}/postgresql")
    frozen = begin(tmp_path, "frozen")
    journal = tmp_path / "frozen" / "journal.jsonl"
    deadline = time.monotonic() + 60
    while not (journal.exists() and '"gate":"lease"' in journal.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(frozen.pid, signal.SIGSTOP)
    while (second := failover(tmp_path, **variables())).report["exit_code"] == 4:
        assert time.monotonic() < deadline + 60, second.output  # until the frozen one's lease has expired
        time.sleep(2)
    assert second.code in (0, 3), second.output
    before = standing()
    os.killpg(frozen.pid, signal.SIGCONT)
    output = frozen.communicate(timeout=120)[0]
    assert standing() == before
    woken = report(tmp_path, "frozen")
    assert woken["outcome"] in ("refused", "recovered"), output  # recovered: it found nothing left to change
    after = [json.loads(line) for line in journal.read_text().splitlines()]
    assert not [r for r in after if r["event"] == "action" and r["data"].get("changed")]


def test_people_agree_before_anything_is_touched(tmp_path: Path) -> None:
    keys = {name: make_key(tmp_path / name) for name in ("bob", "carol")}

    def two_people(description: dict[str, Any]) -> None:
        people = {name: {"keys": [public(key)]} for name, key in keys.items()}
        description["recovery_platform"] |= {"people": people, "approvals": {"needed": 2}}

    inventory = changed_inventory(tmp_path, two_people)
    assert yaml.safe_load(DESCRIPTION.read_text())["recovery_platform"].get("approvals") is None
    lab("break", "kill", f"{WEST}/postgresql")
    words = ("--target", EAST, "--confirm", EAST, "--run-id", "agreed")
    before = standing()
    code, made, _ = recovery(tmp_path, *words, inventory=inventory)
    assert code == 4, made
    assert standing() == before
    for name, key in keys.items():
        argv = [str(BIN / "recovery"), "approve", "agreed", "--as", name, "--key", str(key)]
        subprocess.run([*argv, "--journal", f"file:{tmp_path}"], check=True, cwd=ROOT, env=environment())
    code, made, _ = recovery(tmp_path, *words, inventory=inventory)
    assert code in (0, 3), made
    assert {entry["verdict"] for entry in made["decisions"] if entry["gate"] == "approvals"} == {"refuse", "pass"}
