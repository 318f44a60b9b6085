# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observe, fence, promote and verify on real servers."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.errors import (
    BadInput,
    PreconditionFailed,
    RecoveryError,
    StepFailed,
)
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.client import ServerError
from tests.integration.postgresql.conftest import Pair
from tests.integration.postgresql.drive import Journal, call
from tests.integration.postgresql.servers import Server, streaming, wait_for

STOPPED = {"west": "stopped"}


def caught_up(pair: Pair) -> bool:
    end = pair.west.sql("SELECT pg_current_wal_lsn()")
    with pair.east.session() as session:
        return bool(session.value("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [end]))


def insert(server: Server, key: str) -> None:
    with server.session() as session:
        session.run("INSERT INTO users (key, value) VALUES (%s, 'x')", [key])


class Writer:
    """Writes numbered rows until it is stopped, and remembers which were acknowledged."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.acknowledged: list[str] = []
        self.refused: list[str] = []
        self.number = 0
        self._over = threading.Event()

    @contextmanager
    def running(self) -> Iterator[Writer]:
        thread = threading.Thread(target=self._work)
        thread.start()
        wait_for(lambda: len(self.acknowledged) > 20)
        try:
            yield self
        finally:
            self._over.set()
            thread.join()

    def _work(self) -> None:
        while not self._over.is_set():
            with suppress(ServerError), self.server.session() as session:
                while not self._over.is_set():
                    self.number += 1
                    try:
                        session.run("INSERT INTO users (key, value) VALUES (%s, 'x')", [f"key-{self.number}"])
                        self.acknowledged.append(f"key-{self.number}")
                    except ServerError as error:
                        self.refused.append(error.cause)
                        raise
            time.sleep(0.002)


def keys(server: Server) -> set[str]:
    with server.session() as session:
        return {row[0] for row in session.rows("SELECT key FROM users")}


def test_failover_of_a_killed_primary(pair: Pair, tmp_path: Path) -> None:
    insert(pair.west, "before")
    wait_for(lambda: caught_up(pair))
    memory = str(tmp_path / "known.json")
    call("observe", members=pair.options(), memory=memory)
    pair.west.kill()
    journal = Journal()
    seen = call("observe", members=pair.options(), purpose="confirm", rpo_seconds=60, memory=memory, journal=journal)
    assert (seen["standing"], seen["source"], seen["changed"]) == ("failed", "west", False)
    fence = call("fence", members=pair.options(), evidence=seen["evidence"], journal=journal)
    assert (fence["fenced"], fence["changed"]) == (STOPPED, True)
    again = call("fence", members=pair.options())
    assert (again["fenced"], again["changed"]) == (STOPPED, False)
    foretold = call("promote", members=pair.options(), fenced=fence["fenced"], rpo_seconds=60, check=True)
    assert foretold["changed"]
    assert not foretold["write_proven"]
    assert pair.east.sql("SELECT pg_is_in_recovery()") is True
    done = call("promote", members=pair.options(), fenced=fence["fenced"], rpo_seconds=60, journal=journal)
    assert (done["changed"], done["timeline"]) == (True, {"before": 1, "after": 2})
    assert keys(pair.east) == {"before"}
    again = call("promote", members=pair.options(), fenced=fence["fenced"], rpo_seconds=60)
    assert (again["changed"], again["write_proven"]) == (False, True)
    assert {record["verdict"] for record in journal.records if record["event"] == "decision"} == {"pass"}
    seen = call("observe", members=pair.options(), purpose="confirm", rpo_seconds=60, memory=memory)
    assert seen["standing"] == "converged"
    watched = call("observe", members=pair.options(), purpose="watch")
    assert watched["protected"] is False
    assert "unprotected" in watched["lines"][-1]
    plan = call("observe", members=pair.options(), purpose="rejoin", fenced=STOPPED, promoted_lsn=done["promoted_lsn"])
    assert "database_failback -e recovery_target=west" in plan["next_actions"][-1]


def test_a_healthy_primary_is_no_failover(pair: Pair) -> None:
    with pytest.raises(PreconditionFailed, match="switchover"):
        call("observe", members=pair.options(), purpose="confirm")
    with pytest.raises(PreconditionFailed, match="switchover"):
        call("fence", members=pair.options())
    with pytest.raises(PreconditionFailed, match="answers as primary"):
        call("promote", members=pair.options())
    assert pair.manager.masked == set()
    assert pair.east.sql("SELECT pg_is_in_recovery()") is True


def test_no_promotion_without_proof(pair: Pair) -> None:
    insert(pair.west, "a")
    wait_for(lambda: caught_up(pair))
    pair.west.kill()
    pair.manager.silent.add("west")
    with pytest.raises(PreconditionFailed, match="nothing proves"):
        call("promote", members=pair.options(), rpo_seconds=60)
    with pytest.raises(PreconditionFailed) as refused:
        call(
            "fence",
            members=pair.options(),
            evidence=[{"vantage": "kubernetes", "observed": "pods of west are ready", "alive": True}],
        )
    for fact in ("connection refused", "no answer by ssh", "pods of west are ready", "statement: none"):
        assert fact in str(refused.value)
    with pytest.raises(BadInput, match="reason"):
        call("fence", members=pair.options(), statement="the host is switched off")
    journal = Journal()
    fence = call(
        "fence", members=pair.options(), statement="the host is switched off", reason="power cut", journal=journal
    )
    assert (fence["proof"], fence["changed"]) == ("statement", False)
    assert journal.verdict("fence west") == "override"
    assert call("promote", members=pair.options(), fenced=fence["fenced"], rpo_seconds=60)["changed"]
    # The target is primary now: an old primary that nobody can ask is no reason to stop the checklist.
    assert call("fence", members=pair.options())["proof"] == "none"


def test_a_frozen_primary_costs_its_deadline_and_never_thaws(pair: Pair) -> None:
    insert(pair.west, "a")
    wait_for(lambda: caught_up(pair))
    pair.west.freeze()
    arguments: dict[str, Any] = {"purpose": "confirm", "rpo_seconds": 60, "connect_seconds": 0.7}
    begin = time.monotonic()
    with pytest.raises(PreconditionFailed, match="too few: west: sql: no answer within"):
        call("observe", members=pair.options(), **arguments)
    assert 0.7 <= time.monotonic() - begin < 1.2
    edge = {"vantage": "edge west", "observed": "4 of 4 services: status 503", "alive": False}
    seen = call("observe", members=pair.options(), evidence=[edge], **arguments)
    assert seen["standing"] == "isolated", "its unit is active: nobody knows what it took until now"
    assert seen["disagreement"] is None, "a frozen process is an active unit, and no proof of life"
    fence = call("fence", members=pair.options())
    assert fence["fenced"] == STOPPED
    assert pair.west.process is not None
    assert pair.west.process.poll() is not None
    assert call("promote", members=pair.options(), fenced=STOPPED, rpo_seconds=60)["changed"]


def test_switchover_loses_nothing(pair: Pair) -> None:
    with Writer(pair.west).running() as writer:
        seen = call("observe", members=pair.options(), purpose="confirm", mode="switchover", rpo_seconds=60)
        assert seen["expected_loss"]["seconds"] == 0
        begin = time.monotonic()
        fence = call("fence", members=pair.options(), mode="switchover", tables=["users"])
        done = call(
            "promote", members=pair.options(), mode="switchover", fenced=fence["fenced"], final_lsn=fence["final_lsn"]
        )
        outage = time.monotonic() - begin
    assert (fence["fenced"], done["lag_bytes"], done["changed"]) == (STOPPED, 0, True)
    assert set(writer.acknowledged) <= keys(pair.east)
    assert fence["tables"]["users"]["rows"] == len(keys(pair.east))
    assert outage < 5
    checked = call("integrity", members=pair.options(), database="postgres", tables=["users"], before=fence["tables"])
    assert checked["tables"] == fence["tables"]
    # What comes back by itself comes back as a standby, and nothing of the drain stays behind.
    pair.west.start()
    assert pair.west.sql("SELECT pg_is_in_recovery()") is True
    assert pair.west.sql("SHOW default_transaction_read_only") == "off"


def test_switchover_without_a_service_manager_stops_through_sql(pair: Pair) -> None:
    pair.manager.silent.add("west")
    fence = call("fence", members=pair.options(), mode="switchover")
    assert fence["fenced"] == STOPPED
    assert "through SQL" in fence["details"]["west"]["observed"]
    assert (pair.west.data / "standby.signal").exists()


def test_a_standby_that_does_not_catch_up_releases_the_applications(pair: Pair) -> None:
    pair.east.sql("SELECT pg_wal_replay_pause()")
    with Writer(pair.west).running() as writer:
        with pytest.raises(PreconditionFailed, match="replay is paused"):
            call("observe", members=pair.options(), purpose="confirm", mode="switchover")
        with pytest.raises(PreconditionFailed, match="did not catch up"):
            call("fence", members=pair.options(), mode="switchover", drain_seconds=0.5)
        before = len(writer.acknowledged)
        wait_for(lambda: len(writer.acknowledged) > before + 5)
    assert "read_only" in writer.refused or "lost" in writer.refused
    assert pair.manager.masked == set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_cancelled_drain_lets_applications_write_again(pair: Pair, number: signal.Signals) -> None:
    """The standby does not catch up, so the drain waits; then somebody cancels."""
    obeyed: list[int] = []
    before = signal.signal(number, lambda got, _frame: obeyed.append(got))
    pair.east.sql("SELECT pg_wal_replay_pause()")
    insert(pair.west, "not-replayed")

    def quiesced() -> bool:
        try:
            return bool(pair.west.sql("SHOW default_transaction_read_only") == "on")
        except ServerError:  # the drain ends all sessions, ours as well
            return False

    def cancel() -> None:
        wait_for(quiesced)
        os.kill(os.getpid(), number)

    cancelling = threading.Thread(target=cancel)
    cancelling.start()
    try:
        with pytest.raises(StepFailed, match="interrupted"):
            call("fence", members=pair.options(), mode="switchover", drain_seconds=30)
    finally:
        cancelling.join()
        signal.signal(number, before)
    assert obeyed == [number]
    insert(pair.west, "again")
    assert pair.manager.masked == set()


def test_a_fence_is_verified_without_a_change(pair: Pair) -> None:
    pair.west.kill()
    with pytest.raises(StepFailed, match="west is not fenced"):
        call("fence", members=pair.options(), state="verified")
    assert pair.manager.masked == set()
    call("fence", members=pair.options())
    verified = call("fence", members=pair.options(), state="verified")
    assert (verified["fenced"], verified["changed"]) == (STOPPED, False)


def test_an_interrupted_drain_can_be_released(pair: Pair) -> None:
    with pair.west.session() as session:
        session.run("ALTER SYSTEM SET default_transaction_read_only = on")
        session.run("SELECT pg_reload_conf()")
    released = call("fence", members=pair.options(), state="released")
    assert (released["changed"], released["source"]) == (True, "west")
    insert(pair.west, "again")
    assert call("fence", members=pair.options(), state="released")["changed"] is False


def test_a_switchover_cut_short_after_the_fence_goes_on(pair: Pair) -> None:
    insert(pair.west, "a")
    call("fence", members=pair.options(), mode="switchover")
    seen = call("observe", members=pair.options(), purpose="confirm", mode="switchover", rpo_seconds=60)
    assert seen["standing"] == "failed"
    fence = call("fence", members=pair.options(), mode="switchover")
    assert (fence["fenced"], fence["changed"]) == (STOPPED, False)
    assert call("promote", members=pair.options(), mode="switchover", fenced=fence["fenced"], rpo_seconds=60)["changed"]


def test_a_standby_of_another_lineage(pair: Pair, tmp_path: Path) -> None:
    memory = str(tmp_path / "known.json")
    call("observe", members=pair.options(), memory=memory)
    pair.east.kill()
    stranger = Server(pair.east.programs, tmp_path_for(pair), pair.east.address, "east")
    stranger.create()
    stranger.start().stop()
    (stranger.data / "standby.signal").touch()
    stranger.start()
    try:
        with pytest.raises(PreconditionFailed, match="system identifier"):
            call("observe", members=pair.options(), purpose="confirm", mode="switchover")
        pair.west.kill()
        with pytest.raises(PreconditionFailed, match="west when last seen"):
            call("observe", members=pair.options(), purpose="confirm", memory=memory)
        with pytest.raises(PreconditionFailed, match="system identifier"):
            call("promote", members=pair.options(), memory=memory, fenced=STOPPED)
        assert stranger.sql("SELECT pg_is_in_recovery()") is True
    finally:
        stranger.kill()


def tmp_path_for(pair: Pair) -> Path:
    folder = pair.west.folder / "stranger"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def test_a_standby_far_behind(pair: Pair) -> None:
    insert(pair.west, "a")
    wait_for(lambda: caught_up(pair))
    pair.east.kill()
    time.sleep(1.1)
    insert(pair.west, "lost")
    with pytest.raises(PreconditionFailed, match="does not answer"):
        call("observe", members=pair.options(), purpose="confirm", mode="switchover")
    pair.west.kill()
    pair.east.start()
    with pytest.raises(PreconditionFailed, match=r"Wanted: at most 1\.0 s"):
        call("observe", members=pair.options(), purpose="confirm", rpo_seconds=1)
    with pytest.raises(BadInput, match="reason"):
        call("promote", members=pair.options(), rpo_seconds=1, fenced=STOPPED, allow_data_loss=True)
    journal = Journal()
    arguments: dict[str, Any] = {"rpo_seconds": 1, "fenced": STOPPED, "allow_data_loss": True, "reason": "two users"}
    assert call("promote", members=pair.options(), journal=journal, **arguments)["changed"]
    assert journal.verdict("expected loss") == "override"
    assert keys(pair.east) == {"a"}


def test_two_primaries_are_refused(pair: Pair) -> None:
    pair.east.sql("SELECT pg_promote()")
    for mode in ("failover", "switchover"):
        with pytest.raises(PreconditionFailed, match="split brain"):
            call("observe", members=pair.options(), purpose="confirm", mode=mode)
        with pytest.raises(PreconditionFailed, match="split brain"):
            call("fence", members=pair.options(), mode=mode)


def test_a_wrong_password_touches_nothing(pair: Pair) -> None:
    wrong = {"user": "postgres", "password": "not-the-password"}
    for verb in ("fence", "promote"):
        with pytest.raises(BadInput, match="login of postgres was refused") as refused:
            call(verb, members=pair.options(), credentials=wrong)
        assert "not-the-password" not in str(refused.value) + repr(refused.value.as_result())
    with pytest.raises(BadInput, match="nothing was touched"):
        call("observe", members=pair.options(), credentials=wrong, purpose="confirm")


def test_a_promotion_never_meets_the_stall(pair: Pair) -> None:
    """The startup process may sleep 5 s through a promotion; one raw round of ten shows it."""
    slowest = 0.0
    for _ in range(6):
        insert(pair.west, f"round-{time.monotonic_ns()}")
        wait_for(lambda: caught_up(pair))
        pair.west.kill()
        slowest = max(slowest, call("promote", members=pair.options(), fenced=STOPPED)["promotion_seconds"])
        pair.east.remove()
        pair.west.start()
        pair.east.follow(pair.west)
        pair.east.start()
        wait_for(lambda: streaming(pair.west))
    assert slowest < 1.5


def test_integrity(pair: Pair) -> None:
    insert(pair.west, "a")
    wait_for(lambda: caught_up(pair))
    arguments: dict[str, Any] = {
        "members": pair.options(),
        "target": "west",
        "database": "postgres",
        "tables": ["users"],
    }
    found = call("integrity", **arguments)
    assert found["tables"]["users"]["rows"] == 1
    more = {"users": {"rows": 2, "checksum": "1"}}
    with pytest.raises(StepFailed, match="2 were known before"):
        call("integrity", **arguments, before=more)
    assert call("integrity", **arguments, before=more, allow_fewer_rows=True)["problems"] == []
    with pytest.raises(StepFailed, match="user-service"):
        call("integrity", **arguments, applications=["user-service"], applications_seconds=0.1)
    pair.west.sql("ALTER TABLE users ADD CONSTRAINT short CHECK (length(value) < 1) NOT VALID")
    with pytest.raises(StepFailed, match="short of users is not validated"):
        call("integrity", **arguments)
    with pytest.raises(RecoveryError, match="missing"):
        call("integrity", **{**arguments, "tables": ["nowhere"]})


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_on_the_standby_is_found_before_anything_is_touched(pair: Pair, tmp_path: Path) -> None:
    pair.east.stop()
    kept = tmp_path / "kept"
    subprocess.run(["cp", "-a", f"{pair.east.data}/.", kept], check=True)
    megabytes = sum(path.stat().st_blocks for path in kept.rglob("*")) // 2048 + 40
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", pair.east.data], check=True)
    try:
        subprocess.run(["cp", "-a", f"{kept}/.", pair.east.data], check=True)
        pair.east.start()
        wait_for(lambda: streaming(pair.west))
        with suppress(OSError), (pair.east.data / "filler").open("wb") as filler:
            while True:
                filler.write(b"0" * 65536)
        with pytest.raises(PreconditionFailed, match=r"(?s)room|space|disk") as caught:
            call("observe", members=pair.options(), purpose="confirm", mode="switchover")
        assert "room" in str(caught.value.fields.get("gate"))
        assert pair.east.sql("SELECT pg_is_in_recovery()") is True
        assert pair.west.sql("SELECT current_setting('default_transaction_read_only')") == "off"
    finally:
        pair.east.kill()
        # What the killed server had forked notices its end a moment later.
        wait_for(lambda: subprocess.run(["umount", pair.east.data], check=False).returncode == 0)
