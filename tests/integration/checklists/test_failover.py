# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The database failover checklist on real servers, measured by other means than its own."""

from __future__ import annotations

import hashlib
import time
import uuid
from pathlib import Path

import psycopg2
import pytest

from tests.support.client import Client
from tests.support.platform import (
    EAST,
    EDGE,
    WEST,
    canary,
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
    try:
        sql(region, "INSERT INTO users (key, value) VALUES ('two-writers', 'x')", inside=True)
    except psycopg2.Error:
        return True
    return False


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
    assert ended.report["outcome"] == "refused"
    assert sql(EAST, "SELECT pg_is_in_recovery()") == [(True,)]
    assert "statement" in ended.output
    assert "reach" in ended.output


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
        promoted_at = time.time()
        other.wait_for(50)
    assert ended.code == 0, ended.output
    lost = set(other.acknowledged) - keys_in(EAST, prefix)
    assert len(lost) >= 50
    assert all(other.acknowledged[key] >= isolated_at - 1 for key in lost)
    log = (tmp_path / "canary/writes.log").read_text().splitlines()
    acknowledged = {f"{own}-{int(line.split()[0])}" for line in log if line.split()[3] == "201"}
    assert ended.report["outage"]["lost_writes"] == len(acknowledged - keys_in(EAST, own))
    # Nothing that was acknowledged after the promotion went to the old primary.
    late = {key for key, at in other.acknowledged.items() if at > promoted_at}
    assert late <= keys_in(EAST, prefix)
    held_by_old = {row[0] for row in sql(WEST, f"SELECT key FROM users WHERE key LIKE '{prefix}%'", inside=True)}
    assert not late & held_by_old
    lab("heal", f"{WEST}/postgresql")
    deadline = time.monotonic() + 10
    while not refuses_writes(WEST):
        assert time.monotonic() < deadline, "the old primary takes writes after it was healed"
    assert sql(EAST, "SELECT count(*) FROM users WHERE key = 'two-writers'") == [(0,)]


def test_a_healthy_primary_is_not_failed_over(tmp_path: Path) -> None:
    ended = failover(tmp_path, **variables())
    assert ended.code != 0
    assert ended.report["outcome"] == "refused"
    assert "switchover" in ended.output
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
    lab("heal", f"{WEST}/postgresql")
    assert refuses_writes(WEST)


def test_a_planted_password_appears_nowhere(tmp_path: Path) -> None:
    secret = (Path(".lab") / "secrets/postgres").read_text().strip()
    lab("break", "kill", f"{WEST}/postgresql")
    ended = failover(tmp_path, **variables(recovery_reason="look for the password"))
    assert ended.code == 0, ended.output
    digest = hashlib.sha256(secret.encode()).hexdigest()
    for text in [
        ended.output,
        *(path.read_text(errors="replace") for path in ended.folder.rglob("*") if path.is_file()),
    ]:
        assert secret not in text
        assert digest not in text
