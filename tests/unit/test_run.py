# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The run that is open: sinks, names, who started it, resuming."""

from __future__ import annotations

import getpass
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils import run as module
from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput, StepFailed, StepTimeout
from ansible_collections.platform.recovery.plugins.module_utils.run import Run, open_run, run_id, sink_folder

START = {"playbook": "database-failover", "mode": "failover", "target": "us-east-1", "check": False, "versions": {}}


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        (None, "/here/.recovery/runs"),
        ("", "/here/.recovery/runs"),
        ("file:.recovery/runs", "/here/.recovery/runs"),
        ("file:/var/lib/runs", "/var/lib/runs"),
        ("file:///var/lib/my%20runs", "/var/lib/my runs"),
        ("FILE:runs", "/here/runs"),
        ("file://localhost/var/runs", "/var/runs"),
    ],
)
def test_sinks_that_are_folders(url: str | None, folder: str) -> None:
    assert sink_folder(url, Path("/here")) == Path(folder)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://example.com/", "'https://example.com/' names no sink"),
        ("runs", "write it as file:runs"),
        ("file:", "names no sink"),
        ("file://server/runs", "the host 'server'"),
    ],
)
def test_sinks_that_are_refused(url: str, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        sink_folder(url)
    assert says in f"{caught.value.what} {caught.value.next_action}"
    assert "file:" in str(caught.value.wanted)


def test_a_made_up_name_sorts_by_time_and_tells_the_playbook() -> None:
    name = run_id(None, "platform.recovery.database_failover", now=1795516200.0)
    assert name.startswith("20261124T103000Z-database-failover-")
    assert len(name.rpartition("-")[2]) == 4
    assert name != run_id("", "platform.recovery.database_failover", now=1795516200.0)


@pytest.mark.parametrize("wish", ["a", "A.b_c-9", "x" * 100])
def test_the_callers_name_is_kept(wish: str) -> None:
    assert run_id(wish, "x") == wish


@pytest.mark.parametrize("wish", ["../x", "a/b", "a b", "x" * 101, ".", "..", "ü", "a\n"])
def test_a_name_that_could_lead_elsewhere_is_refused(wish: str) -> None:
    with pytest.raises(BadInput, match="cannot name a run"):
        run_id(wish, "x")


@pytest.mark.parametrize(
    ("variables", "environment", "who"),
    [
        ({"recovery_initiator": "pager"}, {}, "pager"),
        ({"awx_job_id": 7, "awx_user_name": "maria"}, {}, "maria (job 7)"),
        ({"tower_job_id": 7}, {}, "a schedule or workflow (job 7)"),
        ({}, {}, f"{getpass.getuser()}@{socket.gethostname()}"),
        ({}, {"SUDO_USER": "maria"}, f"maria@{socket.gethostname()} (as {getpass.getuser()})"),
    ],
)
def test_who_started_it(variables: dict[str, Any], environment: dict[str, str], who: str) -> None:
    assert module.initiator(variables, environment) == who


def test_the_same_name_resumes_and_keeps_the_first_start(tmp_path: Path) -> None:
    first, resumed = open_run("r1", f"file:{tmp_path}", START)
    assert not resumed
    again, resumed = open_run("r1", f"file:{tmp_path}", {**START, "reason": "again"})
    assert resumed
    assert again == first
    assert [record["event"] for record in again.journal.records()] == ["run_started", "run_resumed"]
    assert again.render()["attempts"] == 2


@pytest.mark.parametrize("change", [{"playbook": "drill"}, {"mode": "plan"}, {"target": "us-west-2"}, {"check": True}])
def test_a_run_is_not_resumed_as_another(tmp_path: Path, change: dict[str, Any]) -> None:
    open_run("r1", f"file:{tmp_path}", START)
    with pytest.raises(BadInput, match="cannot be resumed"):
        open_run("r1", f"file:{tmp_path}", {**START, **change})


def test_a_sink_that_cannot_be_written_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot make the run folder"):
        open_run("r1", f"file:{tmp_path}/file", START)


@pytest.mark.parametrize("where", ["own", "localhost"])
def test_the_registered_result_leads_to_the_run_on_every_host(tmp_path: Path, where: str) -> None:
    opened = {"recovery_run": {"id": "r1", "folder": str(tmp_path)}}
    variables = opened if where == "own" else {"hostvars": {"localhost": opened}}
    run = Run.from_vars(variables)
    assert run is not None
    assert (run.id, run.folder) == ("r1", tmp_path)


@pytest.mark.parametrize("variables", [{}, {"recovery_run": None}, {"hostvars": {}}, {"recovery_run": {"id": "x"}}])
def test_without_it_no_run_is_open(variables: dict[str, Any]) -> None:
    assert Run.from_vars(variables) is None


def test_credentials_are_redacted_wherever_they_turn_up(tmp_path: Path) -> None:
    variables = {
        "recovery_run": {"id": "r1", "folder": str(tmp_path)},
        "recovery_credentials": {
            "admin": {"user": "postgres", "password": "planted-canary"},
            "x": {"password": "{{ y }}"},
            "plain": "planted-plain",
            "deep": {"keys": ["planted-deep", "{{ broken }}"], "more": {"user": "maria", "pin": "planted-pin"}},
            "looked_up": "{{ whole }}",
        },
    }
    looked_up = {"{{ y }}": "planted-lookup", "{{ whole }}": {"user": "otto", "password": "planted-whole"}}
    run = Run.from_vars(variables)
    assert run is not None
    run.journal.append("observation", text="FATAL: planted-canary, planted-plain, planted-deep, planted-pin, {{ y }}")
    run.learn_credentials(variables, looked_up.__getitem__)  # {{ broken }} raises
    run.journal.append("observation", text="planted-lookup and planted-whole for postgres, maria and otto")
    content = run.journal.path.read_text()
    assert "planted" not in content
    assert "[redacted] and [redacted] for postgres, maria and otto" in content
    assert "{{ y }}" in content


def test_a_failed_step_is_journalled_with_all_its_fields_and_rendered(tmp_path: Path) -> None:
    run, _ = open_run("r1", f"file:{tmp_path}", START)
    run.step_failed("Promote", "postgresql_promote", StepTimeout("no", wanted="w", observed="o", next_action="n"))
    record = list(run.journal.records())[-1]
    assert record["event"] == "step_failed"
    assert record["data"] == {
        "task": "Promote",
        "action": "postgresql_promote",
        "kind": "timeout",
        "msg": "no",
        "wanted": "w",
        "observed": "o",
        "next_action": "n",
    }
    assert (tmp_path / "r1" / "report.html").exists()


def test_a_step_that_broke_half_way_has_changed_something(tmp_path: Path) -> None:
    run, _ = open_run("r1", f"file:{tmp_path}", START)
    error = StepFailed("no", changed=True, changed_workloads=["west/production/user-service"])
    run.step_failed("Repoint", "workload_repoint", error)
    report = run.render()
    assert report["changed"]
    assert "workload_repoint: west/production/user-service" in [entry["text"] for entry in report["timeline"]]


def test_the_words_of_a_hidden_step_are_not_journalled(tmp_path: Path) -> None:
    run, _ = open_run("r1", f"file:{tmp_path}", START)
    error = StepFailed("planted", wanted="planted", observed="planted", next_action="planted", changed=True)
    error.fields["changed_workloads"] = ["planted"]
    run.step_failed("Promote", "postgresql_promote", error, hidden=True)
    assert "planted" not in run.journal.path.read_text()
    assert run.render()["failures"][0]["kind"] == "failed"


def test_an_unreadable_journal_never_hides_a_failure(tmp_path: Path) -> None:
    run, _ = open_run("r1", f"file:{tmp_path}", START)
    run.journal.path.write_text(run.journal.path.read_text().replace('"schema":1', '"schema":7'))
    run.step_failed("task", "action", StepFailed("the real trouble"))


def test_the_controller_is_named_so_that_no_later_process_is_taken_for_it() -> None:
    named = module.controller()
    ticks = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    assert named == {"pid": os.getpid(), "started": int(ticks), "host": socket.gethostname()}


def test_a_journal_that_cannot_be_written_fails_the_step_but_never_hides_its_failure(tmp_path: Path) -> None:
    run = Run.at("r1", tmp_path / "gone")
    with pytest.raises(StepFailed, match="cannot open the journal"):
        run.journal.append("observation")
    run.step_failed("task", "action", StepFailed("the real trouble"))
