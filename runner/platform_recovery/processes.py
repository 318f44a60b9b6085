# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find and end every process of a run, and only those.

ansible-core's workers sit in sessions of their own and so do the modules they start: neither a process group nor a
session holds a run together. Parent links do while the parents live, and a mark in the environment does afterwards.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
MARK = "PLATFORM_RECOVERY_PROCESS"
# What does not obey is killed then. A cancel may spend half a second on its note in the journal before, and after two
# seconds nothing of a run may be alive.
PATIENCE_SECONDS = 1.4
# What has not gone so long after SIGKILL hangs in the kernel, in a dead disk or mount as a rule.
KILL_SECONDS = 1.0


@dataclass(frozen=True, order=True)
class Process:
    """A process that no other can be taken for: a process id is given again, its start time is not."""

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        stat = _stat(self.pid)
        return stat is not None and stat.started == self.started and stat.state not in ("Z", "X")

    def send(self, number: signal.Signals) -> None:
        """Send a signal if it still is the process that was meant."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, number)

    @property
    def command(self) -> str:
        """Give the beginning of its command line, for a message."""
        try:
            words = (PROC / str(self.pid) / "cmdline").read_bytes().split(b"\0")
        except OSError:
            return "?"
        return b" ".join(words[:3]).decode(errors="replace")[:80]


@dataclass(frozen=True)
class _Stat:
    state: str
    parent: int
    started: int


def _stat(pid: int) -> _Stat | None:
    try:
        fields = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return _Stat(fields[0], int(fields[1]), int(fields[19])) if len(fields) > 19 else None


def identify(pid: int) -> Process | None:
    """Give the process that has this id now."""
    stat = _stat(pid)
    return Process(pid, stat.started) if stat else None


def identify_self() -> Process:
    """Give this process."""
    found = identify(os.getpid())
    assert found is not None
    return found


def of_run(mark: str, roots: Iterable[Process] = ()) -> set[Process]:
    """Find what belongs to a run: everything that carries its mark, and everything below that or below the roots."""
    stats = {
        int(entry.name): stat for entry in PROC.iterdir() if entry.name.isdigit() and (stat := _stat(int(entry.name)))
    }
    found = {root.pid for root in roots if root.pid in stats and stats[root.pid].started == root.started}
    found |= {pid for pid in stats if pid != os.getpid() and _carries(pid, mark)}
    children: dict[int, list[int]] = {}
    for pid, stat in stats.items():
        children.setdefault(stat.parent, []).append(pid)
    queue = list(found)
    while queue:
        for child in children.get(queue.pop(), ()):
            if child not in found:
                found.add(child)
                queue.append(child)
    found.discard(os.getpid())
    return {Process(pid, stats[pid].started) for pid in found if stats[pid].state not in ("Z", "X")}


def playbook_of(mark: str) -> Process | None:
    """Find the playbook of a run that this process runs: its own child among the run's processes."""
    own = os.getpid()
    return next((found for found in sorted(of_run(mark)) if (stat := _stat(found.pid)) and stat.parent == own), None)


def _carries(pid: int, mark: str) -> bool:
    try:
        return f"{MARK}={mark}".encode() in (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def end(
    mark: str,
    main: Process | None,
    *,
    grace: float = 0.6,
    patience: float = PATIENCE_SECONDS,
    hurry: Callable[[], bool] = lambda: False,
) -> list[Process]:
    """End a run: ask the playbook as Ctrl-C would, then everything, then by force. Gives what is still alive.

    The playbook gets its moment because it writes into the journal how far it came; `hurry` takes it away. What killed
    modules leave in Ansible's temporary folder may hold their arguments, and goes too.
    """
    begin = time.monotonic()
    kill_at = begin + patience
    known = of_run(mark, [main] if main else [])
    if main:
        main.send(signal.SIGINT)
        while main.alive and time.monotonic() - begin < grace and not hurry():
            known |= of_run(mark, [main])
            time.sleep(0.02)
    asked: set[Process] = set()
    while True:
        known |= of_run(mark, known)
        alive = {process for process in known if process.alive}
        now = time.monotonic()
        if hurry():
            kill_at = min(kill_at, now)
        if not alive or now > kill_at + KILL_SECONDS:
            _sweep({process.pid for process in known})
            return sorted(alive)
        for process in alive:
            if now >= kill_at:
                process.send(signal.SIGKILL)
            elif process not in asked:
                asked.add(process)
                process.send(signal.SIGTERM)
        time.sleep(0.02)


def _sweep(workers: set[int]) -> None:
    """Remove the module files of these workers; Ansible names them ansible-tmp-TIME-PID-RANDOM."""
    # Ansible takes the home from the account, whatever HOME says.
    account = pwd.getpwuid(os.getuid()).pw_name
    root = Path(os.environ.get("ANSIBLE_REMOTE_TEMP") or f"~{account}/.ansible/tmp").expanduser()
    for left in root.glob("ansible-tmp-*"):
        pid = left.name.split("-")[3:4]
        if pid and pid[0].isdigit() and int(pid[0]) in workers:
            shutil.rmtree(left, ignore_errors=True)
