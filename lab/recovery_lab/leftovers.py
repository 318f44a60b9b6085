# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find and end what a killed supervisor left behind: every lab process works below the lab's folder."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection
from pathlib import Path

from . import identity
from .wait import NotYet, until


def find(root: Path) -> list[int]:
    """List the lab user's processes that work below the lab's folder, without shells and our own ancestors."""
    root, user = root.resolve(), identity.user_id()
    ours = ancestors(os.getpid())
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in ours:
            continue
        try:
            if entry.stat().st_uid != user:
                continue
            folder = Path(os.readlink(entry / "cwd").removesuffix(" (deleted)"))
            state, terminal = _stat(int(entry.name))[0], _stat(int(entry.name))[4]
        except OSError:
            continue
        if (folder == root or root in folder.parents) and terminal == "0" and state != "Z":
            found.append(int(entry.name))
    return sorted(found)


def ancestors(pid: int) -> set[int]:
    """Give a process and all it descends from."""
    found = set()
    while pid > 0:
        found.add(pid)
        try:
            pid = int(_stat(pid)[1])
        except OSError:
            break
    return found


def process_state(pid: int) -> str:
    """Give the kernel's letter for a process's state; empty if it is gone."""
    try:
        letter = _stat(pid)[0]
    except OSError:
        return ""
    return "" if letter in "ZX" else letter


def _stat(pid: int) -> list[str]:
    # The program's name may hold anything, even brackets; what follows the last one is state, parent, group, ...
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def end(root: Path, kept: Collection[int] = (), alone: Collection[int] = ()) -> int:
    """Kill everything that is left, frozen or not, and wait until it is gone; say how many there were.

    What is kept stays with all that descends from it; what is kept alone does not shield its children.
    """
    counted = set()

    def gone() -> None:
        left = [pid for pid in find(root) if pid not in alone and not ancestors(pid).intersection(kept)]
        for pid in left:
            counted.add(pid)
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if left:
            raise NotYet(f"still running: {', '.join(map(str, left))}")

    until(gone, seconds=15, what=f"the processes below {root} to end", interval=0.02)
    return len(counted)
