# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""(b) Promotion, decision and proof included, against the floor: `pg_promote(false)` and a write poll."""

from __future__ import annotations

import shutil
import statistics
import time
from contextlib import closing
from typing import Any

import psycopg2

from recovery_lab import postgresql_programs
from tests.integration.postgresql.drive import call
from tests.integration.postgresql.servers import PASSWORD, Server, private_folder, streaming, wait_for

ROUNDS = 7
NEWEST = postgresql_programs.POSTGRESQL_VERSIONS[-1]


def bench() -> dict[str, Any]:
    """Promote the same pair over and over, raw and ours in turn."""
    programs = postgresql_programs.find(NEWEST)
    folder = private_folder()
    west, east = (Server(programs, folder, f"127.7.200.{n}", name) for n, name in ((1, "west"), (2, "east")))
    raw: list[float] = []
    ours: list[float] = []
    try:
        west.create()
        west.write_settings()
        west.start()
        west.sql("CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text UNIQUE, value text)")
        for _ in range(ROUNDS):
            raw.append(with_pair(west, east, promote_raw))
            ours.append(with_pair(west, east, promote_ours))
    finally:
        west.kill()
        east.kill()
        shutil.rmtree(folder)
    ratio = statistics.median(a / b for a, b in zip(ours, raw, strict=True))
    return {
        "rows": [
            ("way", "median ms", "all ms"),
            ("raw floor", f"{statistics.median(raw) * 1000:.0f}", " ".join(f"{s * 1000:.0f}" for s in raw)),
            ("postgresql_promote", f"{statistics.median(ours) * 1000:.0f}", " ".join(f"{s * 1000:.0f}" for s in ours)),
            ("ratio, pair by pair", f"{ratio:.2f}", ""),
        ],
        # Facts, lineage, loss and proof cost a few questions; the 5 s stall of raw promotions must never be met.
        "claims": [("promotion against the raw floor", ratio, 2.0), ("slowest promotion, s", max(ours), 2.0)],
    }


def with_pair(west: Server, east: Server, promote: Any) -> float:
    """Attach a fresh standby, kill the primary, promote; then bring the primary back for the next round."""
    east.follow(west)
    east.start()
    wait_for(lambda: streaming(west))
    west.kill()
    begin = time.monotonic()
    promote(west, east)
    seconds = time.monotonic() - begin
    east.remove()
    west.start()
    return seconds


def promote_raw(_west: Server, east: Server) -> None:
    """Ask, and write until a write is taken."""
    # Not `with connect()`: that opens a transaction, which stays read-only after the promotion.
    with closing(psycopg2.connect(east.conninfo(), password=PASSWORD)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_promote(false)")
            while True:
                try:
                    cursor.execute("INSERT INTO users (key, value) VALUES (gen_random_uuid()::text, 'x')")
                except psycopg2.Error:
                    time.sleep(0.002)
                else:
                    return


def promote_ours(west: Server, east: Server) -> None:
    """The verb as the role calls it."""
    members = {
        server.name: {"host": server.address, "address": server.address, "port": server.port, "sslmode": "disable"}
        for server in (west, east)
    }
    call("promote", members=members, fenced={"west": "stopped"})
