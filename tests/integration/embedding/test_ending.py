# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run has an owner from its first moment to its last: it is ended for certain, or goes on to its end."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import platform_recovery as pr
from platform_recovery import session
from platform_recovery.processes import Process

from .conftest import Place, processes

CANCEL_EARLY = """
import sys, time
import platform_recovery as pr
delay, playbook, inventory, cwd = float(sys.argv[1]), *sys.argv[2:]
run = pr.start(playbook, inventory=inventory, cwd=cwd, run_id="r")
time.sleep(delay)
run.cancel()
result = run.wait(60)
print(result.outcome, result.exit_code)
"""


def at_work(cwd: Path) -> list[str]:
    """Name the processes that work in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "cwd") == str(cwd):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def story(cwd: Path) -> str:
    journal = cwd / ".recovery/runs/r/journal.jsonl"
    return journal.read_text() if journal.exists() else ""


@pytest.mark.parametrize("milliseconds", [0, 50, 100, 200, 400, 700])
def test_a_cancel_in_the_first_moments_is_not_lost(place: Place, milliseconds: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CANCEL_EARLY, str(milliseconds / 1000), place.playbook, place.inventory, place.cwd],
        env=place.environment, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "cancelled 5"
    assert at_work(place.cwd) == []
    told = story(place.cwd)
    assert "Verify" not in told
    time.sleep(0.5)
    assert story(place.cwd) == told


def test_a_signal_in_the_first_moments_cancels(place: Place) -> None:
    process = subprocess.Popen(
        place.command("run", place.playbook, "-i", place.inventory, "--run-id", "r"),
        cwd=place.cwd, env=place.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not caught(process.pid) >> (signal.SIGTERM - 1) & 1:
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 5
    assert at_work(place.cwd) == []
    assert "Verify" not in story(place.cwd)


def caught(pid: int) -> int:
    """Give the mask of the signals that a process handles."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1], 16)


@pytest.mark.parametrize(("goal", "code"), [("60", 0), ("0.001", 3)])
def test_a_pipe_closed_after_the_first_line_does_not_end_the_run(place: Place, goal: str, code: int) -> None:
    process = subprocess.Popen(
        place.command("run", place.playbook, "-i", place.inventory, "--run-id", "r", "-v", "-e", "pause=0.5", "-e",
                      f"goal={goal}"),
        cwd=place.cwd, env=place.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    assert process.stderr
    assert process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == code, process.stderr.read()
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    assert json.loads((place.cwd / ".recovery/runs/r/report.json").read_text())["outcome"] == "recovered"


def test_a_hang_up_does_not_end_the_run(place: Place) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        place.command("run", place.playbook, "-i", place.inventory, "--run-id", "r", "-e", "pause=1"),
        cwd=place.cwd, env={**place.environment, "TERM": "xterm"}, stdin=slave, stdout=slave, stderr=slave,
    )  # fmt: skip
    os.close(slave)
    while "Confirm" not in story(place.cwd):
        os.read(master, 65536)
    os.close(master)
    process.send_signal(signal.SIGHUP)
    assert process.wait(60) == 0
    assert json.loads((place.cwd / ".recovery/runs/r/report.json").read_text())["outcome"] == "recovered"


def test_a_terminal_without_utf_8_does_not_end_the_run(place: Place) -> None:
    environment = {**place.environment, "PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "0"}
    arguments = ("run", place.playbook, "-i", place.inventory, "--reason", "Störung ✔")
    told = subprocess.run(place.command(*arguments), cwd=place.cwd, env=environment, capture_output=True, check=False)
    assert told.returncode == 0, told.stderr
    assert b"Confirm the failure" in told.stdout
    told = subprocess.run(
        place.command(*arguments, "--json"), cwd=place.cwd, env=environment, capture_output=True, check=False
    )
    assert json.loads(told.stdout)["reason"] == "Störung ✔"


def test_a_listener_of_the_output_that_breaks_hears_no_more_and_the_run_goes_on(place: Place) -> None:
    heard: list[str] = []

    def listen(text: str) -> None:
        heard.append(text)
        raise BrokenPipeError("nobody reads")

    run = place.start(on_output=listen)
    assert run.wait(60).exit_code == 0
    assert len(heard) == 1
    assert "listener of the output failed" in run.output


def fails_at(kind: str) -> Callable[[pr.Run, Mapping[str, Any]], bool]:
    hear = pr.Run._hear

    def broken(run: pr.Run, event: Mapping[str, Any]) -> bool:
        hear(run, event)
        if (event.get("event_data") or {}).get("task") == kind:
            raise ValueError("broken on purpose")
        return False

    return broken


def test_a_runner_that_breaks_leaves_no_playbook_behind(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pr.Run, "_hear", fails_at("Decide"))
    run = place.start(variables={"pause": 300})
    result = run.wait(60)
    assert (result.outcome, result.exit_code) == ("failed", 2)
    assert "broken on purpose" in result.failures[-1].msg
    assert processes(run) == set()


def test_a_follower_that_breaks_ends_the_run_and_everybodys_wait(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_run: pr.Run) -> None:
        time.sleep(1)
        raise ValueError("broken on purpose")

    monkeypatch.setattr(pr.Run, "_watch", broken)
    run = place.start(variables={"pause": 300})
    assert list(run.events()) == []
    with pytest.raises(RuntimeError, match="broken on purpose"):
        run.wait(30)
    assert processes(run) == set()


def test_events_asked_for_again_after_the_end_end_at_once(place: Place) -> None:
    run = place.start()
    assert isinstance(list(run.events())[-1], pr.RunEnded)
    assert list(run.events()) == []
    assert list(run.events()) == []


def test_two_starts_of_one_run_in_the_same_moment(place: Place) -> None:
    run = place.start(run_id="r")
    with pytest.raises(pr.WrongCall, match="being started or ended") as caught_error:
        place.start(run_id="r")
    assert caught_error.value.exit_code == 4
    run.cancel()
    run.wait(30)
    assert not (place.cwd / ".recovery/runs/r").exists()
    assert place.run(run_id="r").exit_code == 0


def test_what_cannot_be_killed_holds_nobody_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    end = session.end
    stuck = Process(os.getpid(), 0)
    monkeypatch.setattr(session, "end", lambda *_arguments, **_options: [stuck])
    monkeypatch.setattr(session, "START_SECONDS", 0.0)
    run = place.start(variables={"pause": 300})
    for event in run.events():
        if isinstance(event, pr.PhaseStarted):
            break
    monkeypatch.setattr(run, "_last_resort", False)
    cancelled = run.cancel()
    result = run.wait(5)
    assert [name.split()[0] for name in cancelled.remaining] == [str(os.getpid())]
    assert result.outcome == "cancelled"
    end(run._mark, run._playbook)
    run._playing.join(10)
    # What still ran may have written into it while it was removed.
    shutil.rmtree(run._private, ignore_errors=True)


def test_an_unreachable_host_is_not_a_wrong_call(place: Place) -> None:
    playbook = place.cwd / "far.yml"
    playbook.write_text(
        "- hosts: all\n  gather_facts: false\n  tasks: [{ping: }]\n"
        "  vars: {ansible_connection: ssh, ansible_host: 127.0.0.1, ansible_port: 1}\n"
    )
    result = place.run(playbook=str(playbook))
    assert result.exit_code == 2
