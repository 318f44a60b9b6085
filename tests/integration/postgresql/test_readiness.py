# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of readiness against real servers of the oldest and the newest version."""

from __future__ import annotations

from typing import Any

from tests.integration.postgresql.conftest import Pair
from tests.integration.postgresql.drive import call
from tests.integration.postgresql.servers import wait_for


def bad(pair: Pair, part: str, **options: Any) -> dict[tuple[str, str], str]:
    result = call("readiness", check=True, part=part, name="db", members=pair.options(), **options)
    assert result["changed"] is False
    found = {(check["subject"].removeprefix("db "), check["check"]): check["verdict"] for check in result["checks"]}
    return {name: verdict for name, verdict in found.items() if verdict != "ready"}


# These servers have neither certificates nor an archive; all else is in order.
BARE = {
    ("west", "encryption"): "not_ready",
    ("east", "encryption"): "not_ready",
    ("west", "replication encryption"): "not_ready",
    ("west", "archive"): "not_ready",
    ("east", "archive after a promotion"): "not_ready",
}


def test_what_a_pair_lacks_is_named_and_nothing_else(pair: Pair) -> None:
    assert bad(pair, "confirm", rpo_seconds=60) == BARE
    assert bad(pair, "fence") == {("west", "guard"): "not_ready", ("east", "guard"): "not_ready"}
    assert not any(" mask " in command or " stop " in command for command in pair.manager.commands)
    assert bad(pair, "verify", database="postgres", tables=["users"]) == {}
    assert bad(pair, "verify", database="postgres", tables=["users", "none"]) == {("east", "tables"): "not_ready"}
    assert bad(pair, "verify", database="nothing", tables=["users"]) == {
        ("east", "tables"): "not_ready",
        ("east", "schema"): "unknown",
        ("east", "extensions"): "unknown",
    }


def test_an_archive_that_fails_and_one_that_works_are_told_apart(pair: Pair) -> None:
    settings = pair.west.data / "postgresql.conf"
    settings.write_text(settings.read_text() + "archive_mode = on\narchive_command = 'false'\n")
    pair.west.stop()
    pair.west.start()
    wait_for(lambda: ("west", "replication slot") not in bad(pair, "confirm"))
    pair.west.sql("SELECT pg_switch_wal()")
    wait_for(lambda: pair.west.sql("SELECT failed_count > 0 FROM pg_stat_archiver"))
    assert bad(pair, "confirm")["west", "archive"] == "not_ready"
    pair.west.sql("ALTER SYSTEM SET archive_command = 'true'")
    pair.west.sql("SELECT pg_reload_conf()")
    pair.west.sql("SELECT pg_switch_wal()")
    wait_for(lambda: ("west", "archive") not in bad(pair, "confirm"))


def test_a_standby_that_would_be_stopped_and_one_that_lacks_what_the_primary_has(pair: Pair) -> None:
    settings = pair.west.data / "postgresql.conf"
    settings.write_text(settings.read_text() + "max_connections = 321\nmax_locks_per_transaction = 99\n")
    pair.west.stop()
    pair.west.start()
    # It pauses by itself, as soon as it reads of it.
    stopped = {("east", "standby follows"): "not_ready", ("east", "parameters"): "not_ready"}
    wait_for(lambda: bad(pair, "confirm") == {**BARE, **stopped})
    pair.west.sql("CREATE EXTENSION amcheck")
    pair.west.sql("CREATE TABLE planted (id int)")
    assert bad(pair, "verify", database="postgres", tables=["users"]) == {
        ("east", "schema"): "not_ready",
        ("east", "extensions"): "not_ready",
    }


def test_a_standby_that_is_paused_and_a_primary_that_is_gone(pair: Pair) -> None:
    pair.east.sql("SELECT pg_wal_replay_pause()")
    assert bad(pair, "confirm") == {**BARE, ("east", "standby follows"): "not_ready"}
    pair.west.kill()
    found = bad(pair, "confirm")
    assert (found["west", "sql"], found["db", "one primary"]) == ("not_ready", "not_ready")
    assert found["west", "archive"] == "unknown"
    assert bad(pair, "fence")["west", "service manager"] == "not_ready"
