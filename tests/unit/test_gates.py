# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gates of the first play as ansible-playbook meets them, on a platform whose servers are not there."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.platform.recovery.plugins.module_utils.lease_file import FileStore
from platform_recovery import cli
from tests.support.keys import make_key, public

ROOT = Path(__file__).resolve().parents[2]
MEMBER = {"host": "127.0.0.1", "port": 1, "sslmode": "disable"}


@dataclass
class Site:
    """An inventory, people with keys, and the runs on it."""

    folder: Path
    password: str = "y"

    def key(self, name: str) -> Path:
        path = self.folder / name
        return path if path.exists() else make_key(path)

    def describe(self, **more: Any) -> None:
        people = {n: {"keys": [public(self.key(n))]} for n in ("alice", "bob", "carol")}
        objectives = {"rto_seconds": 1800, "rpo_seconds": 3600}
        platform = {
            "name": "site",
            "regions": {"west": {"role": "primary"}, "east": {"role": "secondary"}},
            "databases": {
                "db": {
                    "credentials": "admin",
                    "database": "db",
                    "objectives": objectives,
                    "members": {"west": MEMBER, "east": MEMBER},
                }
            },
            "people": people,
            "lease": {"folder": str(self.folder / "lease")},
            **more,
        }
        credentials = {"admin": {"user": "x", "password": self.password}}
        hosts = {"hosts": {"localhost": {"ansible_connection": "local"}}}
        variables = {"recovery_platform": platform, "recovery_credentials": credentials}
        (self.folder / "hosts.yml").write_text(yaml.safe_dump({"all": {**hosts, "vars": variables}}))

    def run(self, **more: Any) -> tuple[int, str, dict[str, Any]]:
        wish = {
            "recovery_target": "east",
            "recovery_confirm": "east",
            "recovery_run_id": "r1",
            "recovery_initiator": "alice",
            "recovery_journal": f"file:{self.folder}/runs",
            **more,
        }
        argv = [str(Path(sys.executable).with_name("ansible-playbook")), "platform.recovery.database_failover"]
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
            "ANSIBLE_STDOUT_CALLBACK": "platform.recovery.timeline",
        }
        argv += ["-i", str(self.folder / "hosts.yml"), "-e", json.dumps(wish)]
        done = subprocess.run(
            argv, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        report = json.loads((self.folder / "runs/r1/report.json").read_text())
        return done.returncode, " ".join((done.stdout + done.stderr).split()), report

    def approve(self, name: str) -> None:
        sink = f"file:{self.folder}/runs"
        assert cli.main(["approve", "r1", "--as", name, "--key", str(self.key(name)), "--journal", sink]) == 0


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def verdicts(report: dict[str, Any]) -> dict[str, str]:
    return {entry["gate"]: entry["verdict"] for entry in report["decisions"]}


def test_a_run_is_refused_then_approved_then_takes_the_lease_and_gives_it_back(site: Site) -> None:
    site.describe(approvals={"needed": 2})
    code, output, report = site.run()
    assert code == 2
    assert report["exit_code"] == 4, output
    assert verdicts(report) == {"confirmation": "pass", "approvals": "refuse"}
    assert "recovery approve r1 --as NAME" in " ".join(report["next_actions"])
    assert not (site.folder / "lease").exists()
    site.approve("bob")
    site.approve("carol")
    _, output, report = site.run()
    seen = verdicts(report)
    assert (seen["approvals"], seen["lease"]) == ("pass", "pass"), output
    record, _ = FileStore(site.folder / "lease/recovery-site.lease").read()
    assert (record.term, record.holder) == (1, None)  # the servers are not there, so the run failed, and gave it back
    assert report["outcome"] in ("refused", "failed")


def test_where_nobody_has_to_agree_nobody_is_asked_and_a_plan_takes_no_lease(site: Site) -> None:
    site.describe()
    _, output, report = site.run(recovery_mode="plan")
    assert "approvals" not in verdicts(report)
    assert "the lease in folder" in output
    assert not (site.folder / "lease").exists()


def test_a_password_that_is_part_of_a_name_does_not_make_a_run_unapprovable(site: Site) -> None:
    site.password = "east"
    site.describe(approvals={"needed": 1})
    assert site.run()[2]["exit_code"] == 4
    site.approve("bob")
    _, output, report = site.run()
    assert verdicts(report)["approvals"] == "pass", output


def test_nobody_approves_what_they_started_under_another_name(site: Site) -> None:
    account = pwd.getpwuid(os.getuid()).pw_name
    keys = {name: {"keys": [public(site.key(name))]} for name in ("alice", "bob")}
    site.describe(approvals={"needed": 1}, people={**keys, "alice": {**keys["alice"], "accounts": [account]}})
    assert site.run(recovery_initiator="bob")[2]["exit_code"] == 4
    site.approve("alice")
    _, output, report = site.run(recovery_initiator="bob")
    assert verdicts(report)["approvals"] == "refuse"
    assert "self-approval" in output
