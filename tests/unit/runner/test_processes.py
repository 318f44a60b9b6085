# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ending a tree of processes that tries to survive."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from platform_recovery.processes import MARK, PATIENCE_SECONDS, Process, end, identify, of_run, playbook_of

Spawn = Callable[[str], Process]


@pytest.fixture
def mark() -> str:
    return secrets.token_hex(8)


@pytest.fixture
def spawn(mark: str) -> Iterator[Spawn]:
    started: list[subprocess.Popen[bytes]] = []

    def launch(code: str) -> Process:
        started.append(subprocess.Popen([sys.executable, "-S", "-c", code], env={**os.environ, MARK: mark}))
        found = identify(started[-1].pid)
        assert found is not None
        return found

    yield launch
    end(mark, None, patience=0)  # its children too
    for process in started:
        process.wait()


def wait_for(mark: str, count: int) -> set[Process]:
    deadline = time.monotonic() + 10
    while len(found := of_run(mark)) < count and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(found) == count
    return found


FAMILY = """
import os, time
for sid in (False, True):
    if os.fork() == 0:
        if sid:
            os.setsid()
        if os.fork() == 0:
            time.sleep(300)
        {parent}
time.sleep(300)
"""


def test_sessions_and_orphans_are_found_and_ended(spawn: Spawn, mark: str) -> None:
    main = spawn(FAMILY.format(parent="os._exit(0)"))
    found = wait_for(mark, 3)
    begin = time.monotonic()
    assert end(mark, main) == []
    assert time.monotonic() - begin < 2
    assert not any(process.alive for process in found)


def test_children_without_the_mark_are_found_by_their_parents(spawn: Spawn, mark: str) -> None:
    main = spawn("import subprocess; subprocess.run(['/bin/sleep', '300'], env={})")
    wait_for(mark, 2)
    found = of_run(mark)
    assert end(mark, main) == []
    assert not any(process.alive for process in found)


def stubborn(spawn: Spawn, folder: Path) -> Process:
    """Start a process that ignores SIGINT and SIGTERM, and wait until it does."""
    ready = folder / "ready"
    main = spawn(
        "import signal, time; [signal.signal(n, signal.SIG_IGN) for n in (2, 15)];"
        f"open({str(ready)!r}, 'w').close(); time.sleep(300)"
    )
    while not ready.exists():
        time.sleep(0.02)
    return main


def test_what_ignores_the_question_is_killed_before_two_seconds_are_over(
    spawn: Spawn, mark: str, tmp_path: Path
) -> None:
    main = stubborn(spawn, tmp_path)
    begin = time.monotonic()
    assert end(mark, main) == []
    assert PATIENCE_SECONDS - 0.1 < time.monotonic() - begin < 3
    assert not main.alive


def test_a_hurry_kills_at_once(spawn: Spawn, mark: str, tmp_path: Path) -> None:
    main = stubborn(spawn, tmp_path)
    begin = time.monotonic()
    assert end(mark, main, hurry=lambda: time.monotonic() > begin + 0.3) == []
    assert time.monotonic() - begin < PATIENCE_SECONDS


def test_the_playbook_is_the_own_child_among_the_runs_processes(spawn: Spawn, mark: str) -> None:
    main = spawn(FAMILY.format(parent="time.sleep(300)"))
    wait_for(mark, 5)
    assert playbook_of(mark) == main
    assert playbook_of(secrets.token_hex(8)) is None


def test_others_are_left_alone(spawn: Spawn, mark: str) -> None:
    bystander = subprocess.Popen(["/bin/sleep", "300"])
    try:
        main = spawn("import time; time.sleep(300)")
        wait_for(mark, 1)
        assert end(mark, main) == []
        assert bystander.poll() is None
        assert of_run(secrets.token_hex(8)) == set()
    finally:
        bystander.kill()
        bystander.wait()


def test_an_id_given_again_is_not_taken_for_the_process() -> None:
    own = identify(os.getpid())
    assert own is not None
    assert own.alive
    assert not Process(own.pid, own.started - 1).alive
    assert identify(2**22 + 1) is None
