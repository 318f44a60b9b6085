# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard beside a server, with real servers."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.postgresql.conftest import Pair
from tests.integration.postgresql.servers import PASSWORD, environment, streaming, unprivileged, wait_for

GUARD = Path(__file__).parents[3] / "roles/pg_fence/files/recovery-pg-guard"


@contextmanager
def guard(pair: Pair, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run it beside west, with east as its peer."""
    secrets = pair.west.folder / "pgpass"
    secrets.write_text(f"*:*:*:*:{PASSWORD}\n")
    secrets.chmod(0o600)
    if os.getuid() == 0:
        os.chown(secrets, 65534, 65534)
    path = f"{pair.west.programs.folder}:{os.environ['PATH']}"
    command = ["--data-directory", str(pair.west.data), "--local", pair.west.conninfo(), "--peer", pair.east.conninfo()]
    process = subprocess.Popen(
        ["/bin/sh", "-s", "--", *words, *command],
        stdin=GUARD.open(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=pair.west.folder,
        env={**environment(pair.west.programs), "PATH": path, "PGPASSFILE": str(secrets)},
        **unprivileged(),
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(5)


def children_named_psql(folder: Path) -> list[str]:
    """Find what the guard has left running."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if entry.joinpath("cwd").resolve() == folder and entry.joinpath("comm").read_text().strip() == "psql":
                found.append(entry.name)
        except OSError:
            continue
    return found


def test_it_stops_a_stale_primary_and_leaves_nothing(pair: Pair) -> None:
    pair.east.sql("SELECT pg_promote()")
    pair.west.sql("CREATE TABLE stale (i int)")
    begin = time.monotonic()
    with guard(pair) as process:
        assert process.wait(10) == 0
        assert time.monotonic() - begin < 3
        assert process.stdout is not None
        said = process.stdout.read()
    assert "stopping it as stale" in said
    assert PASSWORD not in said
    assert pair.west.process is not None
    pair.west.process.wait(5)
    wait_for(lambda: not children_named_psql(pair.west.folder), 5)
    pair.west.start()
    assert pair.west.sql("SELECT pg_is_in_recovery()") is True


def test_it_leaves_a_healthy_pair_alone_and_notices_a_promotion(pair: Pair) -> None:
    with guard(pair) as process:
        time.sleep(1.2)
        assert process.poll() is None
        assert streaming(pair.west)
        pair.east.sql("SELECT pg_promote()")
        begin = time.monotonic()
        assert process.wait(10) == 0
        assert time.monotonic() - begin < 2


def test_it_stops_a_primary_that_thaws(pair: Pair) -> None:
    with guard(pair) as process:
        time.sleep(0.5)
        pair.west.freeze()
        pair.east.sql("SELECT pg_promote()")
        time.sleep(0.5)
        assert process.poll() is None
        pair.west.thaw()
        assert process.wait(10) == 0
    assert (pair.west.data / "standby.signal").exists()


def test_asked_before_the_start_it_never_lets_a_stale_primary_write(pair: Pair) -> None:
    with guard(pair, "--before-start") as process:
        assert process.wait(10) == 0
    assert not (pair.west.data / "standby.signal").exists(), "its peer is a standby"
    pair.west.stop()
    pair.east.sql("SELECT pg_promote()")
    with guard(pair, "--before-start") as process:
        assert process.wait(10) == 0
        assert process.stdout is not None
        said = process.stdout.read()
    assert "it starts as a standby" in said
    assert PASSWORD not in said
    pair.west.start()
    assert pair.west.sql("SELECT pg_is_in_recovery()") is True


def test_asked_before_the_start_a_silent_peer_holds_nobody_back(pair: Pair) -> None:
    pair.west.stop()
    pair.east.stop()
    with guard(pair, "--before-start") as process:
        assert process.wait(10) == 0
    assert not (pair.west.data / "standby.signal").exists()


def test_it_ends_with_its_children(pair: Pair) -> None:
    with guard(pair) as process:
        wait_for(lambda: len(children_named_psql(pair.west.folder)) == 2)
        process.terminate()
        assert process.wait(5) == 143
    wait_for(lambda: not children_named_psql(pair.west.folder), 5)


@pytest.mark.parametrize("conninfo", ["host=h password=x", "postgresql://u:x@h/db"])
def test_it_refuses_a_password_in_its_arguments(conninfo: str) -> None:
    done = subprocess.run(
        ["/bin/sh", str(GUARD), "--data-directory", "/nowhere", "--local", conninfo, "--peer", "host=p"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 64
    assert "PGPASSFILE" in done.stdout
