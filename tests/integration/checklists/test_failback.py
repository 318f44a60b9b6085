# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back after a failover, on real servers, judged by other means than its own."""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import Client
from tests.support.platform import (
    EAST,
    EDGE,
    ROOT,
    WEST,
    Ended,
    canary,
    failback,
    failover,
    keys_in,
    lab,
    servers,
    sql,
    variables,
)

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("healthy")]
STATE = (ROOT / ".lab").resolve()


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def data_folder(region: str) -> Path:
    return STATE / "data" / region / "postgresql"


def protected(primary: str, standby: str) -> None:
    """See that one follows the other, by its own slot and over TLS, and that nothing else is left."""
    rows = sql(primary, "SELECT r.state, s.ssl FROM pg_stat_replication AS r JOIN pg_stat_ssl AS s USING (pid)")
    assert rows == [("streaming", True)]
    assert sql(primary, "SELECT slot_name::text, active FROM pg_replication_slots") == [
        (standby.replace("-", "_"), True)
    ]
    assert sql(standby, "SELECT pg_is_in_recovery()") == [(True,)]
    assert sql(standby, "SELECT count(*) FROM pg_replication_slots") == [(0,)]
    for region in (primary, standby):
        assert sql(region, "SHOW default_transaction_read_only") == [("off",)]
        work = data_folder(region).with_name("postgresql.recovery")
        assert not work.exists() or [path.name for path in work.iterdir()] == ["saved"]
    seen = servers()
    assert not seen[f"{standby}/postgresql"].get("masked")


def saved(ended: Ended, member: str = WEST) -> list[dict[str, Any]]:
    file = ended.folder / "unreplicated" / f"platform_db-{member}.json"
    return list(json.loads(file.read_text())["rows"]) if file.exists() else []


def lose_rows(tmp_path: Path) -> tuple[set[str], set[str]]:
    """Fail over from a primary that is cut off and goes on acknowledging; give what clients lost and what they sent."""
    prefix = f"lost-{uuid.uuid4().hex[:6]}"
    own = f"own-{prefix}"
    with canary(tmp_path / "canary", own), Client(EDGE, prefix) as other:
        other.wait_for(50)
        lab("break", "isolate", f"{WEST}/postgresql")
        other.wait_for(50)
        statement = {"recovery_fence_statement": "the rack is off", "recovery_reason": "network partition"}
        ended = failover(tmp_path, **variables(recovery_canary_folder=str(tmp_path / "canary"), **statement))
        assert ended.code == 0, ended.output
        other.wait_for(20)
    log = [line.split() for line in (tmp_path / "canary/writes.log").read_text().splitlines()]
    canaries = {f"{own}-{int(words[0])}" for words in log if words[3] == "201"} - keys_in(EAST, own)
    assert len(canaries) == ended.report["outage"]["lost_writes"]
    lost = (set(other.acknowledged) - keys_in(EAST, prefix)) | canaries
    assert len(lost) >= 50
    # Healed, the old primary meets the new one and is stopped by its guard.
    lab("heal", f"{WEST}/postgresql", ok=False)
    wait_for(lambda: servers()[f"{WEST}/postgresql"]["state"] != "running")
    return lost, {own, prefix}


def test_what_was_lost_is_listed_row_by_row_and_the_platform_is_as_it_was(tmp_path: Path) -> None:
    lost, prefixes = lose_rows(tmp_path)
    with Client(EDGE, f"back-{uuid.uuid4().hex[:6]}") as other:
        other.wait_for(20)
        ended = failback(tmp_path)
        assert ended.code == 0, ended.output
        other.wait_for(20)
    listed = {row["row"]["key"] for row in saved(ended) if row["fate"] != "there"}
    assert lost <= listed
    # Beyond that only writes that were under way, of the same clients.
    assert len(listed - lost) <= 60
    assert all(any(key.startswith(prefix) for prefix in prefixes) for key in listed)
    assert set(other.acknowledged) - keys_in(WEST, other.prefix) == set()
    protected(WEST, EAST)
    assert any(row["table"] == "public.users" for row in saved(ended))
    assert ended.report["outage"]["lost_writes"] == 0
    again = failback(tmp_path)
    assert again.code == 0, again.output
    assert not [r for r in again.journal if r["event"] == "action" and r["data"].get("changed")]


@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_both_ways_without_leftovers(tmp_path: Path, rounds: int) -> None:
    """Failover by a kill, back by a switchover, over and over."""
    before = {path.name for path in STATE.rglob("*") if path.name.startswith("postgresql")}
    for number in range(rounds):
        lab("break", "kill", f"{WEST}/postgresql")
        ended = failover(tmp_path, **variables())
        assert ended.code == 0, ended.output
        assert f"recovery_target={WEST}" in " ".join(ended.report["next_actions"])
        sql(EAST, f"INSERT INTO users (key, value) VALUES ('round-{number}-{uuid.uuid4().hex}', 'x')")
        ended = failback(tmp_path)
        assert ended.code == 0, ended.output
        protected(WEST, EAST)
    after = {path.name for path in STATE.rglob("*") if path.name.startswith("postgresql")}
    assert after - before <= {"postgresql.recovery"}
    assert len(keys_in(WEST, "round-")) == len(keys_in(EAST, "round-"))


def test_back_after_a_switchover(tmp_path: Path) -> None:
    assert failover(tmp_path, **variables(recovery_mode="switchover")).code == 0
    ended = failback(tmp_path)
    assert ended.code == 0, ended.output
    protected(WEST, EAST)
    ways = [
        r["data"]["what"] for r in ended.journal if r["event"] == "action" and "rejoin" in str(r["data"].get("what"))
    ]
    assert ways == ["rejoin by follow", "rejoin by follow"]


@pytest.mark.slow  # on two servers of its own test_rejoin does it each time
def test_a_wiped_disk_is_rebuilt(tmp_path: Path) -> None:
    lab("break", "kill", f"{WEST}/postgresql")
    assert failover(tmp_path, **variables()).code == 0
    shutil.rmtree(data_folder(WEST))
    # Only protection is wanted: the target is the primary that there is.
    ended = failback(tmp_path, EAST)
    assert ended.code == 0, ended.output
    protected(EAST, WEST)
    changes = [r["data"]["what"] for r in ended.journal if r["event"] == "action" and r["data"].get("changed")]
    assert changes == ["rejoin by rebuild"]


def test_a_plan_of_the_way_back_changes_nothing(tmp_path: Path) -> None:
    lab("break", "kill", f"{WEST}/postgresql")
    assert failover(tmp_path, **variables()).code == 0
    control = data_folder(WEST) / "global/pg_control"
    before = control.read_bytes()
    ended = failover(tmp_path, playbook="database_failback", recovery_mode="plan", recovery_target=WEST)
    assert ended.code == 0, ended.output
    assert ended.report["outcome"] == "planned"
    assert control.read_bytes() == before
    assert servers()[f"{WEST}/postgresql"]["state"] != "running"
    assert sql(EAST, "SELECT count(*) FROM pg_replication_slots") == [(0,)]


def test_a_busy_primary_is_not_moved_back(tmp_path: Path) -> None:
    lab("break", "kill", f"{WEST}/postgresql")
    assert failover(tmp_path, **variables()).code == 0
    with Client(EDGE, f"busy-{uuid.uuid4().hex[:6]}") as other:
        other.wait_for(20)
        ended = failback(tmp_path, recovery_quiet_moment={"max_write_bytes_per_second": 1})
    assert (ended.report["outcome"], ended.report["exit_code"]) == ("refused", 4)
    assert "quieter moment" in ended.report["failures"][-1]["next_action"]
    # What was done before the refusal stands: the platform is protected where it is.
    protected(EAST, WEST)
