# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command, as a person or a script calls it."""

from __future__ import annotations

import json
import os
import pty
import re
import resource
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from platform_recovery import folders
from platform_recovery._collection import module
from platform_recovery.processes import of_run
from tests.support.keys import make_key, public

from .conftest import Place

Done = subprocess.CompletedProcess[str]


def call(place: Place, *arguments: str, timeout: float = 180) -> Done:
    return subprocess.run(
        place.command(*arguments),
        cwd=place.cwd,
        env=place.environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def run(place: Place, *arguments: str) -> Done:
    return call(place, "run", place.playbook, "-i", place.inventory, *arguments)


def sleeping(place: Place, *arguments: str) -> tuple[subprocess.Popen[str], Path]:
    """Start a run that sleeps in a module, and wait until it does."""
    process = subprocess.Popen(
        place.command("run", place.playbook, "-i", place.inventory, "-e", "pause=300", "--run-id", "r", *arguments),
        cwd=place.cwd,
        env=place.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    folder = place.cwd / ".recovery/runs/r"
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        owner = folders.Owner.read(folder)
        if owner and any("sleep 300" in found.command for found in of_run(owner.mark)):
            return process, folder
        time.sleep(0.05)
    process.kill()
    raise AssertionError("the run did not come to its sleep")


def document(done: Done) -> Any:
    """Read the one JSON document of standard output."""
    return json.loads(done.stdout)


def test_a_run_and_what_can_be_asked_of_it_afterwards(place: Place) -> None:
    done = run(place, "--target", "us-east-1", "--confirm", "us-east-1", "--reason", "a test", "--run-id", "r1")
    assert done.returncode == 0, done.stderr
    assert "▶ Confirm the failure" in done.stdout
    assert "✔ Verify" in done.stdout
    assert "report.html" in done.stdout
    assert "\033" not in done.stdout

    status = document(call(place, "status", "--json"))
    assert (status["run_id"], status["state"], status["outcome"], status["exit_code"]) == (
        "r1", "finished", "recovered", 0,
    )  # fmt: skip
    assert "Recovered" in call(place, "status", "r1").stdout
    assert document(call(place, "report", "r1", "--json"))["target"] == "us-east-1"
    assert document(call(place, "report", "r1", "--format", "json"))["outcome"] == "recovered"
    assert "RECOVERED" in call(place, "report", "r1").stdout
    assert call(place, "report", "r1", "--format", "html").stdout.lower().startswith("<!doctype html>")
    assert [row["run_id"] for row in document(call(place, "list", "--json"))] == ["r1"]
    assert "r1" in call(place, "list").stdout

    verified = call(place, "verify-evidence", "r1")
    assert verified.returncode == 0
    assert "UNSIGNED" in verified.stdout
    journal = place.cwd / ".recovery/runs/r1/journal.jsonl"
    journal.write_text(journal.read_text().replace("a test", "a lie!"))
    altered = call(place, "verify-evidence", "r1", "--json")
    assert altered.returncode == 2
    assert (document(altered)["intact"], document(altered)["first_bad"]) == (False, 1)


def test_json_prints_one_document_whatever_happens(place: Place) -> None:
    done = run(place, "--json")
    assert (done.returncode, document(done)["outcome"]) == (0, "recovered")
    assert "Confirm the failure" in done.stderr
    for arguments, code in (
        (("run", "database-failovr", "-i", place.inventory, "--json"), 1),
        (("run", "--json"), 1),
        (("report", "unknown", "--json"), 1),
        (("readiness", "--json"), 1),
    ):
        refused = call(place, *arguments)
        assert refused.returncode == code
        report = document(refused)
        assert (report["outcome"], report["exit_code"]) == ("failed", code)
        assert report["failures"][0]["msg"]


@pytest.mark.parametrize(("fault", "code"), [("bad_input", 1), ("failed", 2)])
def test_a_failed_run_names_the_next_action_and_is_resumed(place: Place, fault: str, code: int) -> None:
    variables = place.cwd / "vars.yml"
    variables.write_text(f"fault: {fault}\n")
    failed = run(place, "--run-id", "r1", "--target", "here", "-e", f"@{variables}", "--json")
    assert failed.returncode == code
    assert document(failed)["next_actions"]
    variables.write_text("fault: none\n")
    resumed = call(place, "resume", "r1", "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert (document(resumed)["attempts"], document(resumed)["target"]) == (2, "here")


def test_resume_asks_again_for_what_may_be_secret(place: Place) -> None:
    assert run(place, "--run-id", "r1", "-e", "fault=failed", "-e", "secret=planted-77ab").returncode == 2
    assert "planted-77ab" not in "".join(
        path.read_text(errors="replace") for path in place.cwd.rglob("*") if path.is_file()
    )
    refused = call(place, "resume", "r1", "-e", "fault=none")
    assert refused.returncode == 1
    assert "secret" in refused.stderr
    assert call(place, "resume", "r1", "-e", "fault=none", "-e", "secret=x").returncode == 0


def test_exit_3_for_a_missed_objective(place: Place) -> None:
    assert run(place, "--detected-at", "2020-01-01T00:00:00Z").returncode == 3


def test_cancel_from_another_process(place: Place) -> None:
    process, folder = sleeping(place)
    owner = folders.Owner.read(folder)
    assert owner is not None
    assert document(call(place, "status", "r", "--json"))["state"] == "running"
    again = run(place, "--run-id", "r")
    assert (again.returncode, "going on already" in again.stderr) == (4, True)
    begin = time.monotonic()
    done = call(place, "cancel", "r", "--reason", "wrong region")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begin < 5
    assert of_run(owner.mark) == set()
    assert process.wait(30) == 5
    assert "wrong region" in (folder / "journal.jsonl").read_text()
    assert json.loads((folder / "report.json").read_text())["outcome"] == "cancelled"
    assert not list(folder.glob("runner.json"))
    assert call(place, "cancel", "r").returncode == 1


def test_cancel_of_a_run_whose_runner_was_killed(place: Place) -> None:
    process, folder = sleeping(place)
    owner = folders.Owner.read(folder)
    assert owner is not None
    process.kill()
    process.wait()
    done = call(place, "cancel", "r", "--json")
    assert of_run(owner.mark) == set()
    report = json.loads((folder / "report.json").read_text())
    # What the playbook could still write when its terminal went depends on the moment; that it ended does not.
    assert report["outcome"] in ("cancelled", "failed")
    assert done.returncode in (0, 1)
    # The next run clears the private folder of the killed one.
    assert run(place, "--run-id", "next").returncode == 0
    assert not list(Path("/dev/shm").glob(f"platform-recovery-{process.pid}-*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels(place: Place, number: signal.Signals) -> None:
    process, folder = sleeping(place)
    owner = folders.Owner.read(folder)
    assert owner is not None
    process.send_signal(number)
    assert process.wait(30) == 5
    assert of_run(owner.mark) == set()
    assert json.loads((folder / "report.json").read_text())["outcome"] == "cancelled"


def test_wrong_calls_are_exit_1_and_leave_nothing(place: Place) -> None:
    for arguments, words in (
        ((), "required"),
        (("rum",), "rum"),
        (("run", "database-failover"), "inventory"),
        (("run", "database-failovr", "-i", place.inventory), "did you mean 'database-failover'"),
        (("run", "database-failover", "-i", "nowhere"), "does not exist"),
        (("run", "database-failover", "-i", place.inventory, "--mode", "plann"), "did you mean 'plan'"),
        (("run", "database-failover", "-i", place.inventory, "-e", "planted"), "VAR=VALUE"),
        (("readiness",), "inventory"),
        (("status",), "no run"),
        (("cancel", "nothing"), "no run"),
        (("verify-evidence", "nothing"), "no run"),
    ):
        done = call(place, *arguments)
        assert done.returncode == 1, arguments
        assert words in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
        assert "planted" not in done.stderr
        assert done.stdout == ""
    assert list(place.cwd.iterdir()) == []


def test_the_live_view_moves_on_a_terminal_and_gives_it_back(place: Place) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        place.command("run", place.playbook, "-i", place.inventory, "-e", "pause=0.5", "--target", "us-east-1"),
        cwd=place.cwd,
        env={**place.environment, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    text = b""
    while True:
        try:
            block = os.read(master, 65536)
        except OSError:
            break
        text += block
    os.close(master)
    assert process.wait(60) == 0
    screen = text.decode()
    assert screen.count("\033[J") > 5
    assert re.search(r"RTO 00:0\d\.\d of 1:00", screen)
    assert "▶\033[0m Confirm the failure" in screen
    assert "✔\033[0m Verify" in screen
    assert screen.rindex("\033[?25h") > screen.rindex("\033[?25l")


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_is_quick_and_names_the_exit_codes(place: Place) -> None:
    times = []
    for _ in range(5):
        begin = cpu_seconds()
        done = call(place, "--help")
        times.append(cpu_seconds() - begin)
        assert done.returncode == 0
        assert "4 refused by a gate" in done.stdout
    assert min(times) < 0.15  # processor time, since others work on this machine too


def test_a_run_is_signed_at_its_end_and_checked_elsewhere(place: Place, tmp_path: Path) -> None:
    key = make_key(tmp_path / "key")
    allowed = tmp_path / "allowed"
    allowed.write_text(f"controller@example.com {public(key)}")
    done = run(place, "--run-id", "r1", "-e", f"evidence_key={key}")
    assert done.returncode == 0, done.stderr
    assert "to be signed at the end of the run with" in done.stdout
    bundle = place.cwd / "copied.tar"
    bundle.write_bytes((place.cwd / ".recovery/runs/r1/evidence.tar").read_bytes())
    for what in ("r1", str(bundle)):
        verified = call(place, "verify-evidence", what, "--allowed-signers", str(allowed), "--json")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert document(verified)["signer"] == "controller@example.com"
    origin = json.loads(evidence_of(bundle)["provenance.json"])
    assert origin["versions"]["ansible-core"]
    assert any(line.endswith("  plugins/module_utils/journal.py") for line in origin["collection"]["listing"])
    assert [entry["files"] for entry in origin["playbooks"] + origin["inventory"]] == [1, 1]

    bundle.write_bytes(bundle.read_bytes().replace(b"Plan the way back", b"Plan the way bask", 1))
    broken = call(place, "verify-evidence", str(bundle), "--allowed-signers", str(allowed))
    assert broken.returncode == 2
    assert re.search(r"BROKEN at journal.jsonl, record \d+", broken.stdout)
    assert call(place, "verify-evidence", str(bundle), "--allowed-signers", "nowhere").returncode == 1


def test_what_is_not_signed_fails_only_where_a_signature_is_asked_for(place: Place, tmp_path: Path) -> None:
    key = make_key(tmp_path / "key")
    allowed = tmp_path / "allowed"
    allowed.write_text(f"auditor {public(key)}")
    failed = run(place, "--run-id", "r1", "-e", "fault=failed")
    assert failed.returncode == 2
    assert "NOT SIGNED: no key is configured" in failed.stdout
    assert call(place, "verify-evidence", "r1").returncode == 0
    refused = call(place, "verify-evidence", "r1", "--allowed-signers", str(allowed))
    assert (refused.returncode, "UNSIGNED" in refused.stdout) == (2, True)
    made = call(place, "evidence", "r1", "--key", str(key), "--json")
    assert document(made)["key"].startswith("SHA256:")
    assert call(place, "verify-evidence", "r1", "--allowed-signers", str(allowed)).returncode == 0
    assert call(place, "evidence", "r1", "--key", "nowhere").returncode == 1


def evidence_of(bundle: Path) -> dict[str, bytes]:
    members: dict[str, bytes] = module("evidence").unpack(bundle.read_bytes())
    return members
