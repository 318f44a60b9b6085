# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Readiness as a run: its journal, its report in every form, and its exit code, with servers that are not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from ansible_collections.platform.recovery.plugins.module_utils import report
from ansible_collections.platform.recovery.plugins.module_utils.journal import Journal
from ansible_collections.platform.recovery.plugins.module_utils.readiness import Checklist, result
from ansible_collections.platform.recovery.plugins.module_utils.run import Run
from platform_recovery import cli
from platform_recovery.call import Call
from platform_recovery.result import Result

ROOT = Path(__file__).resolve().parents[2]
MEMBER = {"host": "127.0.0.1", "port": 1, "sslmode": "disable"}


def journalled(folder: Path, verdicts: list[bool | None]) -> dict[str, Any]:
    run = Run("r1", folder, Journal.open(folder, "r1"))  # type: ignore[arg-type]
    run.journal.append("run_started", playbook="readiness", mode="readiness", initiator="x")
    run.journal.append("objectives", target="east", objectives=[{"name": "rto", "target_seconds": 60}])
    on = Checklist("pg_observe", "db <east>")
    result(run, [on.judged(f"check {n}", good, "seen", "wanted", "mend it") for n, good in enumerate(verdicts)])
    bad = any(good is not True for good in verdicts)
    run.journal.append("run_ended", outcome="not_ready" if bad else "ready")
    return report.load(folder)


@pytest.mark.parametrize(
    ("verdicts", "outcome", "code", "actions"),
    [
        ([True, True], "ready", 0, []),
        ([True, False, None], "not_ready", 4, ["db <east>, check 1: mend it"]),
        ([True, None], "not_ready", 4, ["db <east>, check 1: mend it"]),
    ],
)
def test_every_rendering_shows_every_check(
    tmp_path: Path, verdicts: list[bool | None], outcome: str, code: int, actions: list[str]
) -> None:
    made = journalled(tmp_path / "r1", verdicts)
    assert (made["outcome"], made["exit_code"], made["target"]) == (outcome, code, "east")
    assert made["next_actions"] == actions
    assert len(made["checks"]) == len(verdicts)
    report.render(tmp_path / "r1")
    shown = report.text(made)
    page, metrics = ((tmp_path / "r1" / name).read_text() for name in ("report.html", "metrics.prom"))
    for number in range(len(verdicts)):
        assert f"check {number}" in shown
        assert f">check {number}<" in page
    assert "db &lt;east&gt;" in page
    ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>\n"))
    ready = sum(good is True for good in verdicts)
    assert any(row.startswith("recovery_checks{") and row.endswith(f'"ready"}} {ready}') for row in metrics.split("\n"))
    assert metrics.count("recovery_check_ready{") == sum(good is not None for good in verdicts)
    assert [check.verdict for check in Result.from_report(made).checks] == [c["verdict"] for c in made["checks"]]


def test_a_long_list_is_shown_whole_and_the_reports_path_stays_last(tmp_path: Path) -> None:
    shown = report.text(journalled(tmp_path / "r1", [True, False] * 60), folder="x")
    assert "check 119" in shown
    assert shown.splitlines()[-1].startswith("Report")


def test_what_a_resumed_run_found_before_does_not_count(tmp_path: Path) -> None:
    journalled(tmp_path / "r1", [False])
    target = Journal(tmp_path / "r1", "r1")
    target.append("run_resumed", initiator="x")
    assert report.load(tmp_path / "r1")["checks"] == []


@pytest.fixture
def site(tmp_path: Path) -> Path:
    database = {
        "credentials": "admin",
        "database": "db",
        "tables": ["users"],
        "objectives": {"rto_seconds": 1800, "rpo_seconds": 3600},
        "members": {"west": MEMBER, "east": MEMBER},
    }
    platform = {
        "name": "site",
        "regions": {"west": {"role": "primary"}, "east": {"role": "secondary"}},
        "databases": {"db": database},
        "clusters": {"west": {"region": "west", "kubeconfig": str(tmp_path / "nothing")}},
        "services": {"web": {"database": "db", "clusters": ["west"]}},
        "edges": {"west": {"region": "west", "url": "http://127.0.0.1:1"}},
        "canary": {"edge": "west", "service": "web", "table": "users"},
        "lease": {"provider": "file", "folder": str(tmp_path / "lease")},
        "people": {name: {"keys": [f"ssh-ed25519 {name} x"]} for name in ("ann", "bob")},
        "approvals": {"needed": 2},
    }
    variables = {"recovery_platform": platform, "recovery_credentials": {"admin": {"user": "x", "password": "planted"}}}
    hosts = {"hosts": {"localhost": {"ansible_connection": "local"}}, "vars": variables}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": hosts}))
    return tmp_path


def test_a_platform_that_is_not_there_is_checked_to_the_end(site: Path) -> None:
    wish = {"recovery_run_id": "r1", "recovery_initiator": "ann", "recovery_journal": f"file:{site}/runs"}
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "platform.recovery.readiness"]
    # Ansible's own callback: the exit code must not hang on ours.
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections")}
    environment["ANSIBLE_STDOUT_CALLBACK"] = "ansible.builtin.default"
    done = subprocess.run(
        [*argv, "-i", str(site / "hosts.yml"), "-e", json.dumps(wish)],
        cwd=site, env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout
    made = json.loads((site / "runs/r1/report.json").read_text())
    assert (made["outcome"], made["exit_code"], made["target"], made["changed"]) == ("not_ready", 4, "east", False)
    assert made["failures"] == []
    roles = {check["role"] for check in made["checks"]}
    assert roles == {
        "recovery_run", "platform", "pg_observe", "pg_fence", "pg_promote", "data_integrity", "service_repoint",
        "canary",
    }  # fmt: skip
    told = {(check["subject"], check["check"]): check["verdict"] for check in made["checks"]}
    assert told["db east", "sql"] == told["db", "one primary"] == "not_ready"
    assert told["db", "objectives"] == told["lease, file", "lease"] == "ready"
    assert told["db", "clusters"] == "not_ready"
    assert told["approvals", "people"] == "not_ready"  # who asks is one of the two
    assert "approvals" not in {decision["gate"] for decision in made["decisions"]}
    assert not (site / "lease").exists()
    assert "planted" not in done.stdout + done.stderr


def test_the_word_of_the_command_line_is_the_same_run(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["readiness", "--inventory", str(site / "hosts.yml"), "--journal", f"file:{site}/runs", "--json"]
    assert cli.main(words) == 4
    made = json.loads(capsys.readouterr().out)
    assert (made["playbook"], made["mode"], made["outcome"]) == ("readiness", "readiness", "not_ready")
    assert made["checks"]


def test_the_mode_of_any_checklist_is_the_playbook_of_that_name(site: Path) -> None:
    call = Call.of("database-failover", site / "hosts.yml", mode="readiness", target="east")
    assert (call.name, call.extra_variables()["recovery_mode"]) == ("readiness", "readiness")
