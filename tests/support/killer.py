# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kill a process and all below it right after the n-th record of a journal was written.

A program of its own, woken by the kernel at each write: a thread of the test would come too late on a busy machine.
Called with the process id, the journal's folder and n; prints how many records stand there when all are dead.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
from pathlib import Path

IN_MODIFY, IN_CREATE = 0x2, 0x100
LOOK_SECONDS = 0.2


def below(pid: int) -> list[int]:
    """Give a process and everything below it, through the threads that started them."""
    found = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [one for child in children.read_text().split() for one in below(int(child))]
    return found


def count(journal: Path) -> int:
    """Count the whole records."""
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to what may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def kill(pid: int) -> None:
    """Hold everything still first, so that nobody starts or writes anything while the others die."""
    held: list[int] = []
    while new := [one for one in below(pid) if one not in held]:
        for one in new:
            send(one, signal.SIGSTOP)
        held += new
    for one in held:
        send(one, signal.SIGKILL)


def alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def main(pid: int, folder: Path, number: int) -> None:
    """Wait for the record, or for the process's own end."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init()
    assert libc.inotify_add_watch(watch, os.fsencode(folder), IN_MODIFY | IN_CREATE) >= 0, os.strerror(
        ctypes.get_errno()
    )
    journal = folder / "journal.jsonl"
    while count(journal) < number:
        if not alive(pid):
            return print(-count(journal))
        if select.select([watch], [], [], LOOK_SECONDS)[0]:
            os.read(watch, 65536)
    kill(pid)
    return print(count(journal))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
