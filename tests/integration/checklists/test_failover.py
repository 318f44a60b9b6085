# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The database failover checklist on real servers, measured by other means than its own."""

from __future__ import annotations

import base64
import re
import subprocess
import threading
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import psycopg2
import psycopg2.errors
import pytest

from tests.support.client import Client
from tests.support.platform import (
    EAST,
    EDGE,
    ROOT,
    WEST,
    Ended,
    canary,
    command,
    environment,
    failover,
    keys_in,
    lab,
    servers,
    sql,
    variables,
)

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("healthy")]


def pods() -> dict[str, int]:
    return {t: row["pid"] for t, row in servers().items() if row["kind"] == "service"}


def refuses_writes(region: str) -> bool:
    """Try to write a row of its own. Only a server that is down, starting up or read-only counts as refusing."""
    key = f"two-writers-{uuid.uuid4().hex}"
    try:
        sql(region, f"INSERT INTO users (key, value) VALUES ('{key}', 'x')", inside=True)
    except psycopg2.OperationalError:
        return True
    except psycopg2.errors.ReadOnlySqlTransaction:
        return True
    return False


def promoted_at(ended: Ended) -> float:
    """Give when the standby took its first write, as the journal says."""
    stamps = [r["data"]["promoted_at"] for r in ended.journal if r["data"].get("what") == "promote"]
    return datetime.fromisoformat(stamps[0].replace("Z", "+00:00")).timestamp()


def test_a_killed_primary_is_replaced_and_the_figures_agree_with_another_client(tmp_path: Path) -> None:
    prefix = f"other-{uuid.uuid4().hex[:6]}"
    with canary(tmp_path / "canary", f"own-{prefix}"), Client(EDGE, prefix) as other:
        other.wait_for(100)
        killed_at = time.time()
        lab("break", "kill", f"{WEST}/postgresql")
        ended = failover(tmp_path, **variables(recovery_canary_folder=str(tmp_path / "canary")))
        other.wait_for(50)
    assert ended.code == 0, ended.output
    report = ended.report
    assert report["outcome"] == "recovered"
    assert [o["met"] for o in report["objectives"]] == [True, True]
    # Measured by another tool: the outage within 0.2 s, the loss exactly.
    assert report["outage"]["seconds"] == pytest.approx(other.outage(), abs=0.2)
    acknowledged_by_canary = {
        f"own-{prefix}-{int(line.split()[0])}"
        for line in (tmp_path / "canary/writes.log").read_text().splitlines()
        if line.split()[3] == "201"
    }
    held = keys_in(EAST, "own-")
    assert report["outage"]["lost_writes"] == len({k for k in acknowledged_by_canary if k not in held})
    # Asynchronous replication may lose the last rows before the kill, and no older one.
    lost = set(other.acknowledged) - keys_in(EAST, prefix)
    assert all(other.acknowledged[key] >= killed_at - 1 for key in lost)
    assert sql(EAST, "SELECT pg_is_in_recovery()") == [(False,)]
    assert servers()[f"{WEST}/postgresql"]["state"] != "running"
    for name in ("report.html", "metrics.prom", "journal.jsonl"):
        assert (ended.folder / name).stat().st_size > 0


def test_running_it_again_changes_nothing_and_restarts_nothing(tmp_path: Path) -> None:
    lab("break", "kill", f"{WEST}/postgresql")
    assert failover(tmp_path, **variables()).code == 0
    before = pods()
    again = failover(tmp_path, **variables())
    assert again.code == 0, again.output
    assert again.report["outcome"] == "recovered"
    assert pods() == before
    assert not [r for r in again.journal if r["event"] == "action" and r["data"].get("changed")]


def test_a_switchover_under_load_loses_no_acknowledged_write(tmp_path: Path) -> None:
    prefix = f"switch-{uuid.uuid4().hex[:6]}"
    with canary(tmp_path / "canary", f"own-{prefix}"), Client(EDGE, prefix) as other:
        other.wait_for(100)
        wish = variables(recovery_mode="switchover", recovery_canary_folder=str(tmp_path / "canary"))
        ended = failover(tmp_path, **wish)
        assert ended.code == 0, ended.output
        other.wait_for(50)
    assert set(other.acknowledged) - keys_in(EAST, prefix) == set()
    assert ended.report["outage"]["lost_writes"] == 0
    assert ended.report["outage"]["seconds"] == pytest.approx(other.outage(), abs=0.2)
    assert refuses_writes(WEST)


def test_an_isolated_living_primary_is_not_replaced_without_proof_or_statement(tmp_path: Path) -> None:
    lab("break", "isolate", f"{WEST}/postgresql")
    sql(WEST, "INSERT INTO users (key, value) VALUES ('alive-behind-it', 'x')", inside=True)
    ended = failover(tmp_path, **variables())
    assert ended.code != 0
    assert (ended.report["outcome"], ended.report["exit_code"]) == ("refused", 4)
    assert sql(EAST, "SELECT pg_is_in_recovery()") == [(True,)]
    # Both facts: what each channel to it showed, and that nobody has stated anything.
    refusal = ended.report["failures"][-1]
    assert "sql: connection refused" in refusal["observed"]
    assert "service manager: ssh to 127.101.0.30:2222 failed" in refusal["observed"]
    assert "statement: none" in refusal["observed"]
    assert "recovery_fence_statement" in refusal["next_action"]
    assert not refuses_writes(WEST), "the isolated primary is to be alive behind its isolation"


def test_with_a_statement_the_loss_is_exact_and_the_old_primary_never_writes_again(tmp_path: Path) -> None:
    prefix = f"split-{uuid.uuid4().hex[:6]}"
    own = f"own-{prefix}"
    with canary(tmp_path / "canary", own), Client(EDGE, prefix) as other:
        other.wait_for(100)
        lab("break", "isolate", f"{WEST}/postgresql")
        isolated_at = time.time()
        # The west keeps acknowledging what the east will never see.
        other.wait_for(50)
        ended = failover(
            tmp_path,
            **variables(
                recovery_canary_folder=str(tmp_path / "canary"),
                recovery_fence_statement="the rack is powered off, seen by the duty engineer",
                recovery_reason="network partition",
            ),
        )
        other.wait_for(50)
    assert ended.code == 0, ended.output
    lost = set(other.acknowledged) - keys_in(EAST, prefix)
    assert len(lost) >= 50
    assert all(other.acknowledged[key] >= isolated_at - 1 for key in lost)
    log = (tmp_path / "canary/writes.log").read_text().splitlines()
    acknowledged = {f"{own}-{int(line.split()[0])}" for line in log if line.split()[3] == "201"}
    assert ended.report["outage"]["lost_writes"] == len(acknowledged - keys_in(EAST, own))
    # Nothing that was acknowledged after the promotion went to the old primary.
    late = {key for key, at in other.acknowledged.items() if at > promoted_at(ended)}
    assert len(late) >= 50
    assert late <= keys_in(EAST, prefix)
    held_by_old = {row[0] for row in sql(WEST, f"SELECT key FROM users WHERE key LIKE '{prefix}%'", inside=True)}
    assert not late & held_by_old
    # Healed, it meets the new primary and is stopped by the guard beside it; from then on it refuses, for good.
    lab("heal", f"{WEST}/postgresql", ok=False)
    deadline = time.monotonic() + 10
    while not refuses_writes(WEST):
        assert time.monotonic() < deadline, "the old primary takes writes after it was healed"
        time.sleep(0.05)
    for _ in range(20):
        assert refuses_writes(WEST)
        time.sleep(0.1)
    lab("heal", ok=False)
    assert refuses_writes(WEST), "started once more it must not write either"


def test_a_healthy_primary_is_not_failed_over(tmp_path: Path) -> None:
    ended = failover(tmp_path, **variables())
    assert ended.code != 0
    assert (ended.report["outcome"], ended.report["exit_code"]) == ("refused", 4)
    assert "recovery_mode=switchover" in ended.report["failures"][-1]["next_action"]
    assert sql(EAST, "SELECT pg_is_in_recovery()") == [(True,)]


def test_a_plan_changes_nothing(tmp_path: Path) -> None:
    before = (pods(), sql(WEST, "SELECT timeline_id FROM pg_control_checkpoint()"))
    ended = failover(tmp_path, recovery_mode="plan", recovery_target=EAST)
    assert ended.code == 0, ended.output
    assert ended.report["outcome"] == "planned"
    assert (pods(), sql(WEST, "SELECT timeline_id FROM pg_control_checkpoint()")) == before
    assert sql(EAST, "SELECT pg_is_in_recovery()") == [(True,)]


def test_a_frozen_primary_is_killed_before_it_can_thaw(tmp_path: Path) -> None:
    lab("break", "freeze", f"{WEST}/postgresql")
    ended = failover(tmp_path, **variables())
    assert ended.code == 0, ended.output
    lab("heal", f"{WEST}/postgresql", ok=False)
    assert refuses_writes(WEST)


class ProcessList(threading.Thread):
    """Watches every command line of this machine for some words, as any user of it could."""

    def __init__(self, words: Iterable[str]) -> None:
        super().__init__(daemon=True)
        self.words = [word.encode() for word in words]
        self.seen: set[bytes] = set()
        self.rounds = 0
        self._over = threading.Event()

    def __enter__(self) -> ProcessList:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.wait(0.01):
            self.rounds += 1
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    line = path.read_bytes()
                    self.seen |= {line for word in self.words if word in line}


@pytest.mark.parametrize("fault", ["kill", "isolate"])
def test_a_planted_password_appears_nowhere(tmp_path: Path, fault: str) -> None:
    """Neither in a run that recovers nor in one that is refused, at the highest verbosity."""
    # The superuser's stands in the inventory, the application's in a Secret of each cluster.
    secrets = [(ROOT / ".lab/secrets" / name).read_text().strip() for name in ("postgres", "platform_app")]
    hidden = [form for secret in secrets for form in (secret, base64.b64encode(secret.encode()).decode())]
    begun = time.time()
    lab("break", fault, f"{WEST}/postgresql")
    with ProcessList(secrets) as processes:
        ended = failover(tmp_path, verbose=True, **variables(recovery_reason="look for the password"))
    assert (ended.code == 0) is (fault == "kill"), ended.output
    assert processes.rounds > 20
    assert processes.seen == set()
    logs = [p for p in (ROOT / ".lab/logs").rglob("*") if p.is_file() and p.stat().st_mtime > begun]
    assert logs
    texts = [ended.output, *(p.read_text(errors="replace") for p in [*ended.folder.rglob("*"), *logs] if p.is_file())]
    for text in texts:
        assert not [word for word in hidden if word in text]


def test_the_tasks_read_like_the_plans_checklist() -> None:
    listed = subprocess.run(
        [*command("listed", Path("unused"), variables()), "--list-tasks"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    plays = re.findall(r"play #\d+ \([\w.]+\): (.*?)\s+TAGS", listed)
    assert plays == [
        "Open the run and validate the request",
        "Confirm the database failure",
        "Stop application writes and fence the old primary",
        "Promote the standby to primary",
        "Update the application configuration",
        "Restart the applications",
        "Verify data integrity",
        "Watch replication lag",
        "Plan the recovery of the old primary",
        "Close the run and report",
    ]
