# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the healthy lab is: real servers that do what those elsewhere do."""

from __future__ import annotations

import stat
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psycopg2
import pytest

from .conftest import LabUnderTest, eventually, processes_below

pytestmark = pytest.mark.lab
WEST, EAST = "us-west-2/postgresql", "us-east-1/postgresql"


def test_up_on_a_healthy_lab_returns_at_once(lab: LabUnderTest) -> None:
    begin = time.monotonic()
    assert "up and healthy" in lab.run("up").stderr
    assert time.monotonic() - begin < 5


def test_status_has_the_documented_shape(lab: LabUnderTest) -> None:
    status = lab.status()
    assert status["profile"] == "small"
    assert status["healthy"] is True
    kinds = {row["kind"] for row in status["servers"]}
    assert kinds == {"postgresql", "kubernetes", "edge", "dns", "service"}
    keys = {"target", "region", "kind", "instance", "address", "port", "state", "pid", "resident_mib", "connect"}
    below = processes_below(Path(status["state_folder"]))
    for row in status["servers"]:
        assert keys <= set(row)
        assert row["state"] == "running"
        assert row["target"].startswith(row["region"] + "/")
        assert row["pid"] in below
        assert row["ready"]
    assert sum(row["resident_mib"] for row in status["servers"]) < 3 * 1024
    pods = [row["resident_mib"] for row in status["servers"] if row["kind"] == "service"]
    assert len(pods) == 16
    assert 0 < min(pods) <= max(pods) <= 30


def texts(pids: list[int], name: str) -> list[bytes]:
    """What /proc tells of these processes, as far as they still are there."""
    found = []
    for pid in pids:
        with suppress(OSError):
            found.append(Path(f"/proc/{pid}/{name}").read_bytes())
    return found


def test_nobody_runs_as_root(lab: LabUnderTest) -> None:
    found = texts(processes_below(Path(lab.status()["state_folder"])), "status")
    assert len(found) > 20
    assert not any(b"\nUid:\t0\t" in text for text in found)


def test_secrets_are_private_and_in_no_command_line(lab: LabUnderTest) -> None:
    folder = Path(lab.status()["state_folder"])
    secrets = [path.read_bytes() for path in (folder / "secrets").iterdir()]
    assert secrets
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in [*(folder / "secrets").iterdir(), *(folder / "kubeconfig").iterdir()]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    command_lines = texts(processes_below(folder), "cmdline")
    assert len(command_lines) > 20
    assert not any(secret in words for words in command_lines for secret in secrets)
    logs = list((folder / "logs").rglob("*.log"))
    assert logs
    for path in logs:
        content = path.read_bytes()
        assert not any(secret in content for secret in secrets), path


@pytest.mark.parametrize("region", ["us-west-2", "us-east-1"])
@pytest.mark.parametrize("service", ["user-service", "tenant-service", "plugin-service", "ai-service"])
def test_each_service_keeps_rows_through_each_edge(lab: LabUnderTest, region: str, service: str) -> None:
    status, key = lab.write(region, service=service)
    assert status == 201
    assert lab.call(region, "GET", f"/v1/{service}/rows/{key}")[1]["key"] == key
    assert lab.call(region, "POST", f"/v1/{service}/rows", {"key": key, "value": "v"})[0] == 409
    health = lab.call(region, "GET", f"/v1/{service}/healthz")[1]
    assert health["database"]["host"] == "postgresql.us-west-2.lab.internal"


def test_the_databases_replicate_by_tls_and_a_slot(lab: LabUnderTest) -> None:
    rows = lab.sql(
        WEST,
        "select r.state, r.application_name, s.ssl, l.slot_name, l.active from pg_stat_replication r "
        "join pg_stat_ssl s using (pid) join pg_replication_slots l on l.active_pid = r.pid",
    )
    assert rows == [("streaming", "us-east-1", True, "us_east_1", True)]
    assert lab.sql(EAST, "select pg_is_in_recovery()") == [(True,)]


def test_the_databases_are_set_up_for_recovery(lab: LabUnderTest) -> None:
    wanted = {"data_checksums": "on", "archive_mode": "on", "wal_log_hints": "on", "fsync": "on", "ssl": "on"}
    wanted |= {"password_encryption": "scram-sha-256", "synchronous_commit": "on", "wal_retrieve_retry_interval": "5s"}
    for target in (WEST, EAST):
        for name, value in wanted.items():
            assert lab.sql(target, f"show {name}") == [(value,)], (target, name)


def test_a_password_and_a_trusted_name_are_needed(lab: LabUnderTest) -> None:
    url = lab.connect(WEST)["url"]
    user, _, rest = url.partition("@")
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(f"postgresql://postgres:wrong@{rest}")
    with pytest.raises(psycopg2.OperationalError, match="does not match host name"):
        psycopg2.connect(f"{user}@{rest.replace('us-west-2.lab.internal', 'elsewhere.lab.internal')}")
    with pytest.raises(psycopg2.OperationalError, match="no encryption"):
        psycopg2.connect(url.replace("verify-full", "disable"))


def test_wal_is_archived(lab: LabUnderTest) -> None:
    name = lab.sql(WEST, "select pg_walfile_name(pg_switch_wal())")[0][0]
    archive = Path(lab.status()["state_folder"]) / "archive/us-west-2"
    eventually(lambda: (archive / name).exists())


def test_a_hosts_service_manager_answers_by_ssh(lab: LabUnderTest) -> None:
    folder = Path(lab.status()["state_folder"]) / "ssh"
    words = ["ssh", "-F", "none", "-p", "2222", "-i", str(folder / "operator"), "-o", "BatchMode=yes"]
    words += ["-o", f"UserKnownHostsFile={folder / 'known_hosts'}", "-o", "StrictHostKeyChecking=yes"]
    done = subprocess.run(
        [*words, "operator@127.102.0.30", "systemctl is-active postgresql"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "active")


def test_logs_show_servers_and_pods(lab: LabUnderTest) -> None:
    assert "database system is ready" in lab.run("logs", WEST, "--lines", "400").stdout
    assert "serving" in lab.run("logs", lab.pods("user-service")[0]["target"], "--lines", "400").stdout


def test_another_clones_lab_is_refused_with_the_name_of_this(lab: LabUnderTest, tmp_path: Path) -> None:
    done = lab.run("status", ok=False, RECOVERY_LAB_STATE=str(tmp_path / "other"))
    assert done.returncode == 1
    assert "Another lab runs on this machine" in done.stderr
    assert str(Path(__file__).parents[2]) in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("break", "kil", WEST), "no fault 'kil'; did you mean 'kill'"),
        (("break", "kill", "us-west-2/postgres"), "did you mean 'us-west-2/postgresql'"),
        (("break", "isolate", "us-west-2/dns"), "cannot be hit by isolate"),
        (("heal", "us-west-3"), "did you mean 'us-west-2'"),
        (("logs", "moon"), "no target 'moon'"),
        (("up", "--postgresql", "15"), "The lab runs with profile small and PostgreSQL 18"),
        (("up", "--profile", "full"), "The lab runs with profile small"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(lab: LabUnderTest, words: tuple[str, ...], message: str) -> None:
    done = lab.run(*words, ok=False)
    assert done.returncode == 1
    assert message in done.stderr
