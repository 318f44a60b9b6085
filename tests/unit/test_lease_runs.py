# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lease in real runs of ansible-playbook: kept alive, given back, taken over, refused."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.lease_file import FileStore
from ansible_collections.platform.recovery.plugins.module_utils.run import Run
from ansible_collections.platform.recovery.plugins.plugin_utils.companion import Companion

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
SECONDS = 1.0
CHECKLIST = """
- name: Work under a lease
  hosts: localhost
  gather_facts: false
  connection: local
  tasks:
    - name: Open the run
      platform.recovery.checkpoint:
        state: begin
        playbook: database-failover
        run_id: "{{ run }}"
        journal: "file:{{ sink }}"
        mode: failover
        target: us-east-1
      register: recovery_run
    - name: Take the platform's lease
      platform.recovery.recovery_lease:
        homes: [{provider: file, name: recovery-lab, folder: "{{ sink }}"}]
        left_out: "{{ left_out | default([]) }}"
        reason: the region is lost
        seconds: "{{ seconds }}"
        playbook: database-failover
        target: us-east-1
      register: recovery_lease
    - name: Work
      ansible.builtin.command: {argv: [sh, -c, "touch {{ sink }}/{{ run }}.works; {{ work }}"]}
    - name: Stop the applications
      platform.recovery.workload_scale:
        clusters: {c: {kubeconfig: "{{ sink }}/kubeconfig"}}
        workloads: [{cluster: c, namespace: production, name: user-service}]
        replicas: "0"
      when: scale | default(false)
    - name: Give the platform's lease back
      platform.recovery.recovery_lease: {state: released}
    - name: Close the run
      platform.recovery.checkpoint: {state: end}
"""


class Runs:
    """Starts runs that share a lease in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[str]] = []
        (folder / "checklist.yml").write_text(CHECKLIST)

    def start(self, run: str, work: str, *options: str, **more: Any) -> subprocess.Popen[str]:
        variables = {"run": run, "sink": str(self.folder), "work": work, "seconds": SECONDS, **more}
        argv = [str(PLAYBOOK), "checklist.yml", "-i", "localhost,", "-e", json.dumps(variables), *options]
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
            "ANSIBLE_STDOUT_CALLBACK": "platform.recovery.timeline",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        }
        process = subprocess.Popen(
            argv, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        self.started.append(process)
        return process

    def lease(self) -> dict[str, Any]:
        return asdict(FileStore(self.folder / "recovery-lab.lease").read()[0])

    def journal(self, run: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / run / "journal.jsonl").read_text().splitlines()]

    def outcome(self, run: str) -> str:
        return str(self.journal(run)[-1]["data"]["outcome"])

    def working(self, run: str) -> None:
        until((self.folder / f"{run}.works").exists, f"{run} to work")


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.fixture
def runs(tmp_path: Path) -> Any:
    started = Runs(tmp_path)
    yield started
    for process in started.started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_a_run_keeps_its_lease_alive_and_gives_it_back_and_another_is_refused_meanwhile(runs: Runs) -> None:
    first = runs.start("first", f"while ! test -e {runs.folder}/enough; do sleep 0.05; done")
    runs.working("first")
    before = runs.lease()
    until(lambda: runs.lease()["renewed"] > before["since"] + SECONDS, "renewals beyond the first expiry")
    second = runs.start("second", "true")
    output = second.communicate(timeout=60)[0]
    assert second.returncode == 2
    assert runs.outcome("second") == "refused"
    text = " ".join(output.split())
    assert "Another run holds the platform's lease: first" in text
    assert f"process {first.pid} on" in text
    [refusal] = [r["data"] for r in runs.journal("second") if r["data"].get("gate") == "lease"]
    assert refusal["verdict"] == "refuse"
    assert "run first (database-failover to us-east-1) by" in refusal["observed"]
    assert json.loads((runs.folder / "second/report.json").read_text())["exit_code"] == 4
    (runs.folder / "enough").touch()
    assert first.communicate(timeout=60) is not None
    assert first.returncode == 0
    assert runs.lease()["holder"] is None
    assert runs.lease()["term"] == 1
    [taken] = [r["data"] for r in runs.journal("first") if r["data"].get("gate") == "lease"]
    assert taken["verdict"] == "pass"


def test_a_home_that_is_lost_is_left_out_with_the_operators_reason(runs: Runs) -> None:
    run = runs.start("first", "true", left_out=["us-west-2"])
    assert run.communicate(timeout=60) is not None
    assert runs.outcome("first") == "recovered"
    overrides = [r["data"] for r in runs.journal("first") if r["data"].get("verdict") == "override"]
    assert [(one["gate"], one["by"]) for one in overrides] == [
        ("lease without cluster us-west-2", "operator: the region is lost")
    ]


def test_a_lease_is_renewed_at_its_own_pace_and_not_as_fast_as_its_home_answers(runs: Runs) -> None:
    first = runs.start("first", f"while ! test -e {runs.folder}/enough; do sleep 0.05; done", seconds=600)
    runs.working("first")
    before = runs.lease()
    time.sleep(1.0)
    assert runs.lease() == before
    (runs.folder / "enough").touch()
    first.communicate(timeout=60)
    assert first.returncode == 0


@pytest.mark.parametrize("blow", [signal.SIGSTOP, signal.SIGKILL])
def test_a_controller_that_stands_still_or_is_gone_shows_no_life(runs: Runs, blow: signal.Signals) -> None:
    """What renews the lease is a process of its own, which must not go on for one that does nothing any more."""
    first = runs.start("first", f"while ! test -e {runs.folder}/enough; do sleep 0.05; done")
    runs.working("first")
    before = runs.lease()
    until(lambda: runs.lease()["renewed"] > before["renewed"], "signs of life")
    os.kill(first.pid, blow)
    until(lambda: time.time() - runs.lease()["renewed"] > 2 * SECONDS, "the signs of life to end")
    (runs.folder / "enough").touch()
    os.kill(first.pid, signal.SIGCONT)
    first.communicate(timeout=60)
    assert (first.returncode == 0) == (blow == signal.SIGSTOP)


def test_nothing_that_ansible_forks_has_a_thread_that_could_hold_a_lock(tmp_path: Path) -> None:
    """A renewal that connected while Ansible forked left OpenSSL locked in the child: the run hung for ever."""
    before = set(threading.enumerate())
    companion = Companion()
    try:
        companion.follow(Run.at("r1", str(tmp_path / "r1")), foretell=True)
        assert [thread.name for thread in set(threading.enumerate()) - before] == ["recovery-tick"]
    finally:
        companion.end()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(("work", "end"), [("exit 1", None), ("sleep 60", signal.SIGTERM)])
def test_a_run_that_fails_or_is_interrupted_gives_it_back_too(runs: Runs, work: str, end: int | None) -> None:
    run = runs.start("first", work, seconds=60)
    if end:
        runs.working("first")
        os.kill(run.pid, end)
    run.communicate(timeout=60)
    assert run.returncode != 0
    assert runs.lease()["holder"] is None


def test_a_plan_takes_none_and_is_told_who_holds_it(runs: Runs) -> None:
    plan = runs.start("plan", "true", "--check")
    assert "is held by nobody" in " ".join(plan.communicate(timeout=60)[0].split())
    assert plan.returncode == 0
    assert not (runs.folder / "recovery-lab.lease").exists()


def test_a_killed_controllers_lease_is_taken_at_once_by_the_same_run_and_by_another(runs: Runs) -> None:
    for number, name in enumerate(["first", "first", "second"], 1):
        (runs.folder / f"{name}.works").unlink(missing_ok=True)
        run = runs.start(name, "sleep 60", seconds=600)
        runs.working(name)
        assert runs.lease()["term"] == number
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    [*_, told] = [r["data"] for r in runs.journal("second") if r["data"].get("gate") == "lease"]
    assert "taken over from run first" in told["observed"]
