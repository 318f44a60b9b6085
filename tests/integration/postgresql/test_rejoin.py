# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back of an old primary, on real servers whose configuration lies among their data."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils.errors import PreconditionFailed, StepTimeout
from tests.integration.postgresql.conftest import Cut, Pair
from tests.integration.postgresql.drive import Journal, call
from tests.integration.postgresql.servers import Server, wait_for


def insert(server: Server, *keys: str) -> None:
    with server.session() as session:
        for key in keys:
            session.run("INSERT INTO users (key, value) VALUES (%s, 'x')", [key])


def keys(server: Server) -> set[str]:
    with server.session() as session:
        return {row[0] for row in session.rows("SELECT key FROM users")}


def replayed(old: Server, new: Server) -> bool:
    with new.session() as session:
        return bool(
            session.value("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [old.sql("SELECT pg_current_wal_lsn()")])
        )


def fail_over(pair: Pair, old: Server, new: Server, *lost: str) -> None:
    """Kill a primary that holds rows which its standby never got, and promote that."""
    wait_for(lambda: replayed(old, new))
    if lost:
        new.stop()
        insert(old, *lost)
    old.kill()
    pair.manager.masked.add(old.name)
    if lost:
        new.start()
    done = call("promote", members=pair.options(), target=new.name, fenced={old.name: "stopped"})
    assert done["changed"]


def take_back(pair: Pair, member: Server, **more: Any) -> dict[str, Any]:
    arguments = {"target": member.name, "tables": ["users"], "stream_seconds": 30.0, "archive_seconds": 20.0, **more}
    return call("rejoin", members=pair.options(), **arguments)


def leftovers(server: Server) -> list[str]:
    """Name what a return left beside the data, but for what it saved."""
    work = server.data.with_name(server.name + ".recovery")
    return sorted(path.name for path in work.iterdir() if path.name != "saved") if work.exists() else []


def slots(server: Server) -> dict[str, bool]:
    with server.session() as session:
        return dict(session.rows("SELECT slot_name, active FROM pg_replication_slots"))


def follows(standby: Server, primary: Server) -> None:
    """See with other means that a standby follows, with the configuration that is its own."""
    wait_for(lambda: keys(standby) == keys(primary))
    assert standby.sql("SELECT pg_is_in_recovery()") is True
    assert standby.sql("SHOW cluster_name") == standby.name
    assert list(slots(primary).values()) == [True]
    assert slots(standby) == {}
    assert leftovers(standby) == []


def digest(server: Server) -> str:
    found = hashlib.sha256()
    for path in sorted(server.data.rglob("*")):
        if path.is_file():
            found.update(str(path).encode() + path.read_bytes())
    return found.hexdigest()


def test_the_saved_rows_are_the_lost_ones(pair: Pair, tmp_path: Path) -> None:
    insert(pair.west, "kept", "changed", "removed")
    wait_for(lambda: keys(pair.east) == {"kept", "changed", "removed"})
    pair.east.stop()
    with pair.west.session() as session:
        session.run("BEGIN")
        session.run("SAVEPOINT one")
        session.run("INSERT INTO users (key, value) VALUES ('lost-in-a-savepoint', 'x')")
        session.run("COMMIT")
        session.run("UPDATE users SET value = 'other' WHERE key = 'changed'")
        session.run("DELETE FROM users WHERE key = 'removed'")
        session.run("BEGIN")
        session.run("INSERT INTO users (key, value) VALUES ('rolled-back', 'x')")
        session.run("ROLLBACK")
        session.run("CREATE TABLE made (what text)")
        session.run("INSERT INTO made VALUES ('in a new table')")
    insert(pair.west, "lost-1", "lost-2")
    pair.west.kill()
    pair.manager.masked.add("west")
    pair.east.start()
    call("promote", members=pair.options(), fenced={"west": "stopped"})
    before = digest(pair.west)
    foretold = take_back(pair, pair.west, check=True)
    assert (foretold["changed"], foretold["members"]["west"]["way"]) == (True, "rewind")
    assert digest(pair.west) == before
    journal = Journal()
    done = take_back(pair, pair.west, lists=str(tmp_path / "lists"), journal=journal)
    saved = done["members"]["west"]["saved"]
    rows = json.loads(Path(saved["file"]).read_text())["rows"]
    assert {row["row"]["key"] for row in rows if row["table"] == "public.users" and row["fate"] == "missing"} == {
        "lost-1",
        "lost-2",
        "lost-in-a-savepoint",
    }
    assert [row["row"] for row in rows if row["table"] == "public.made"] == [{"what": "in a new table"}]
    fates = {row["fate"]: row["row"]["key"] for row in rows if row["fate"] in {"different", "deleted"}}
    assert fates == {"different": "changed", "deleted": "removed"}
    assert "rolled-back" not in Path(saved["file"]).read_text()
    # The log itself is kept on the host, as it is and in words.
    folder = Path(saved["folder"])
    assert (folder / "wal.txt").read_text().count("COMMIT") >= 6
    assert list((folder / "wal").iterdir())
    assert folder.stat().st_mode & 0o077 == 0
    follows(pair.west, pair.east)
    assert [record["what"] for record in journal.records if record["event"] == "action"] == ["rejoin by rewind"]
    again = take_back(pair, pair.west)
    assert (again["changed"], again["members"]["west"]["way"]) == (False, "already")
    assert "west" not in pair.manager.masked


def test_both_ways_many_times_without_leftovers(pair: Pair) -> None:
    primary, standby = pair.west, pair.east
    for number in range(6):
        lost = [f"lost-{number}"] if number % 2 else []
        fail_over(pair, primary, standby, *lost)
        insert(standby, f"new-{number}")
        done = take_back(pair, primary)
        assert done["members"][primary.name]["way"] == ("rewind" if lost else "follow"), done["lines"]
        assert len(done["unreplicated"]) == len(lost)
        follows(primary, standby)
        primary, standby = standby, primary
    assert keys(primary) == {f"new-{number}" for number in range(6)}


CUTS = [
    ("save", "start_isolated\n      rows_of"),
    ("save", "rows_of || exit 1"),
    ("save", ': >"$folder/complete"'),
    ("rewind", "write_passfile\n  mark rewinding"),
    ("rewind", '"$bin/pg_rewind" -D'),
    ("rewind", 'restore_configuration\n  : >"$data/standby.signal"\n  mark rewound'),
    ("dress", 'rm -f "$data/recovery.signal"'),
    ("finish", 'rm -rf "$work/state"'),
]


@pytest.mark.parametrize("cut", CUTS, ids=[f"{verb}-{number}" for number, (verb, _) in enumerate(CUTS)])
def test_wherever_it_is_cut_short_the_next_run_ends_it(pair: Pair, cut: tuple[str, str]) -> None:
    insert(pair.west, "kept")
    fail_over(pair, pair.west, pair.east, "lost")
    pair.scripts.cut = cut
    with pytest.raises(Cut):
        take_back(pair, pair.west)
    done = take_back(pair, pair.west)
    assert done["members"]["west"]["way"] in {"rewind", "rebuild", "follow", "already"}
    follows(pair.west, pair.east)
    saved = list((pair.west.data.with_name("west.recovery") / "saved").glob("*/rows.jsonl"))
    assert len(saved) == 1
    assert '"lost"' in saved[0].read_text()
    # Whoever ends it tells of the rows, unless all but the tidying was done.
    assert len(done["unreplicated"]) == (0 if cut[0] == "finish" else 1)


def test_a_rebuild_that_is_cut_short_is_begun_again(pair: Pair) -> None:
    fail_over(pair, pair.west, pair.east)
    (pair.west.data / "global/pg_control").write_bytes(b"")
    accepted: dict[str, Any] = {"allow_data_loss": True, "reason": "a broken disk"}
    pair.scripts.cut = ("rebuild", 'restore_configuration\n  : >"$data/standby.signal"\n  mark rebuilt')
    with pytest.raises(Cut):
        take_back(pair, pair.west, **accepted)
    assert take_back(pair, pair.west)["members"]["west"]["way"] == "rebuild"
    follows(pair.west, pair.east)


def test_damaged_files_are_not_overwritten_unless_that_is_accepted(pair: Pair, tmp_path: Path) -> None:
    fail_over(pair, pair.west, pair.east, "lost")
    control = pair.west.data / "global/pg_control"
    control.write_bytes(b"\0" * control.stat().st_size)
    before = digest(pair.west)
    with pytest.raises(PreconditionFailed, match="control file"):
        take_back(pair, pair.west)
    assert digest(pair.west) == before
    journal = Journal()
    accepted: dict[str, Any] = {"allow_data_loss": True, "reason": "the rows were entered again"}
    done = take_back(pair, pair.west, **accepted, lists=str(tmp_path), journal=journal)
    assert done["members"]["west"]["way"] == "rebuild"
    assert "COMMIT" in (Path(done["members"]["west"]["saved"]["folder"]) / "wal.txt").read_text()
    assert journal.verdict("unreplicated data") == "override"
    follows(pair.west, pair.east)


def test_rows_that_cannot_be_read_stop_the_rewind(pair: Pair) -> None:
    fail_over(pair, pair.west, pair.east, "lost")
    # Its log can still be read, but no server starts on it.
    (pair.west.data / "global/pg_filenode.map").unlink()
    with pytest.raises(PreconditionFailed, match="unreplicated rows"):
        take_back(pair, pair.west)
    assert pair.scripts.ran[-1] == "save"
    done = take_back(pair, pair.west, allow_data_loss=True, reason="known")
    # What is left of the lost transactions is their log.
    folder = Path(done["members"]["west"]["saved"]["folder"])
    assert "COMMIT" in (folder / "wal.txt").read_text()
    assert (folder / "complete").exists()
    follows(pair.west, pair.east)


def test_another_database_is_not_overwritten(pair: Pair) -> None:
    fail_over(pair, pair.west, pair.east)
    pair.west.remove()
    pair.west.create()
    with pytest.raises(PreconditionFailed, match="another database"):
        take_back(pair, pair.west)
    assert take_back(pair, pair.west, allow_data_loss=True, reason="a mistake")["members"]["west"]["way"] == "rebuild"
    follows(pair.west, pair.east)


def test_one_that_came_back_as_a_standby_and_has_diverged(pair: Pair) -> None:
    fail_over(pair, pair.west, pair.east, "lost")
    (pair.west.data / "standby.signal").touch()
    pair.west.start()
    done = take_back(pair, pair.west)
    assert done["members"]["west"]["way"] == "rewind"
    assert [row["fate"] for row in done["unreplicated"]] == ["missing"]
    follows(pair.west, pair.east)


def test_a_server_that_dies_again_is_not_waited_for(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_over(pair, pair.west, pair.east)
    start = pair.west.start_if_down

    def dies() -> None:
        start()
        pair.west.kill()

    monkeypatch.setattr(pair.west, "start_if_down", dies)
    begin = time.monotonic()
    with pytest.raises(StepTimeout, match="has stopped again"):
        take_back(pair, pair.west, stream_seconds=240.0)
    # Twice it was started: as it was, and rebuilt.
    assert pair.scripts.ran.count("rebuild") == 1
    assert time.monotonic() - begin < 120


def test_a_standby_that_lacks_its_slot_gets_it(pair: Pair) -> None:
    pair.east.stop()
    pair.west.sql("SELECT pg_drop_replication_slot('standby')")
    pair.east.start()
    done = take_back(pair, pair.east)
    assert done["changed"]
    assert slots(pair.west) == {"standby": True}
    assert "stop" not in " ".join(pair.manager.commands)


def test_two_primaries_are_refused(pair: Pair) -> None:
    pair.east.sql("SELECT pg_promote()")
    with pytest.raises(PreconditionFailed, match="no one primary"):
        take_back(pair, pair.west)
    assert pair.scripts.ran == []


def test_nothing_is_overwritten_where_the_primary_is_out_of_reach(pair: Pair) -> None:
    fail_over(pair, pair.west, pair.east, "lost")
    rules = pair.east.data / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text("host replication all all reject\n" + before)
    pair.east.sql("SELECT pg_reload_conf()")
    with pytest.raises(PreconditionFailed, match="does not reach east"):
        take_back(pair, pair.west)
    assert "rewind" not in pair.scripts.ran
    rules.write_text(before)
    pair.east.sql("SELECT pg_reload_conf()")
    assert take_back(pair, pair.west)["members"]["west"]["way"] == "rewind"
    follows(pair.west, pair.east)


def test_what_a_drain_left_behind_is_taken_back(pair: Pair) -> None:
    with pair.west.session() as session:
        session.run("ALTER SYSTEM SET default_transaction_read_only = on")
    fail_over(pair, pair.west, pair.east)
    done = take_back(pair, pair.west)
    assert any("back to what it was" in line for line in done["lines"])
    wait_for(lambda: pair.west.sql("SHOW default_transaction_read_only") == "off")
    assert take_back(pair, pair.west)["changed"] is False
