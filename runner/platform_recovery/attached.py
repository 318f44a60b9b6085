# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run as any process sees it: by its folder, whoever started it, and also after it has ended."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import folders
from ._collection import module
from .errors import Busy, WrongCall
from .events import Event, from_record
from .processes import Process, end, of_run
from .result import Cancelled, Result

POLL_SECONDS = 0.05
# How long whoever runs it is given to end it, before it is done over his head.
CANCEL_SECONDS = 5.0


@dataclass(frozen=True)
class Status:
    """How a run stands. `state` is running, finished, or unfinished: it died, and the same run id resumes it."""

    run_id: str
    state: str
    outcome: str | None
    exit_code: int | None
    playbook: str | None
    mode: str | None
    target: str | None
    started_at: str | None
    seconds: float | None
    phase: Mapping[str, Any] | None
    pid: int | None
    folder: Path


class AttachedRun:
    """A run, with its `id` and its `folder`, that this process need not have started. It goes on without this object.

    Whether it goes on can be told on the machine on which it does.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = folder.name

    @property
    def running(self) -> bool:
        """Whether a process of this machine works on it."""
        return folders.worker(self.folder) is not None

    def status(self) -> Status:
        """Say how it stands."""
        return status(self.folder, module("report").load(self.folder))

    def events(self, after: int | None = None) -> Iterator[Event]:
        """Yield the run's events in their order, as they happen, until it is over.

        They are read from the journal when they are asked for. `after` begins behind the event of that number, of
        earlier attempts too (0: with the very first); without it they begin with the newest attempt.
        """
        tail = self._tail(after)
        going = True
        while going:
            going = (
                self.running
            )  # asked before the last look, so that nothing is missed that was written before the end
            told = tail.seq
            for record in tail.read():
                yield from_record(record)
            if going and tail.seq == told:
                time.sleep(POLL_SECONDS)

    async def events_async(self, after: int | None = None) -> AsyncIterator[Event]:
        """Yield what `events` does, for a program with an event loop: no thread waits, and it can be cancelled."""
        import asyncio  # the command line needs none

        tail = self._tail(after)
        going = True
        while going:
            going = self.running
            for record in tail.read():
                yield from_record(record)
            if going:
                await asyncio.sleep(POLL_SECONDS)

    def wait(self, timeout: float | None = None) -> Result:
        """Wait for the end. Raises TimeoutError if it does not come in time; the run goes on then."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.running:
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"run {self.id} still goes on")
            time.sleep(POLL_SECONDS)
        return Result.from_report(module("report").load(self.folder), self.folder)

    def cancel(self, reason: str = "cancelled by the caller") -> Cancelled:
        """End the playbook and everything it started, whoever runs it. Returns when that is certain.

        Raises WrongCall if it is over, or runs where this process cannot end it: elsewhere, or by hand.
        """
        owner = self._owner()
        if owner.runner.alive:
            folders.write(self.folder / folders.CANCEL, reason)
        deadline = time.monotonic() + CANCEL_SECONDS
        # Whoever runs it ends it; the file of the owner goes when that is done.
        while owner.runner.alive and (self.folder / folders.OWNER).exists() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        left = {*end(owner.mark, owner.playbook), *of_run(owner.mark)}
        remaining = tuple(f"{process.pid} {process.command}" for process in sorted(left))
        folders.stop_canary(self.folder)
        with _held(self.folder, owner.runner, deadline):  # so that only one of the two journals the end
            self._conclude(reason, remaining)
            folders.leave(self.folder)
        return Cancelled(reason, remaining)

    def _owner(self) -> folders.Owner:
        owner = folders.working(self.folder)
        if owner:
            return owner
        worker = folders.worker(self.folder)
        raise WrongCall(
            f"Run {self.id} is not going on in a process that recovery started on this machine",
            next_action=f"interrupt its ansible-playbook with Ctrl-C where it runs, or with kill -INT {worker.pid}"
            if worker
            else "interrupt a plain ansible-playbook with Ctrl-C where it runs",
        )

    def _conclude(self, reason: str, remaining: tuple[str, ...]) -> None:
        """Journal the end where whoever ran it could not."""
        report = module("report").load(self.folder)
        if report["state"] == "finished":
            return
        journal = module("journal").Journal(self.folder, report["run_id"])
        journal.append("run_ended", outcome="cancelled", why=reason, remaining=list(remaining))
        module("report").render(self.folder)
        module("evidence").conclude(self.folder)
        module("sink").finish(self.folder, journal)

    def _tail(self, after: int | None) -> folders.Tail:
        if after is None:
            starts = folders.attempts(self.folder)
            after = starts[-1]["seq"] - 1 if starts else 0
        return folders.Tail(self.folder / folders.JOURNAL, from_seq=after + 1)


def attach(run_id: str, *, journal: str | None = None, cwd: str | os.PathLike[str] | None = None) -> AttachedRun:
    """Find a run by its id, whether it goes on, was interrupted or is over. Raises WrongCall if there is none.

    `journal` is the sink in which it was started, `cwd` the working folder from which the default sink counts.
    """
    folders.fetch(journal, run_id)
    root = folders.sink(journal, Path(cwd).absolute() if cwd else None)
    folder = root / folders.run_id(run_id, "run")
    if not run_id or not (folder / folders.JOURNAL).is_file():
        raise WrongCall(f"There is no run {run_id!r} in {root}", next_action="recovery list shows what there is")
    return AttachedRun(folder)


def status(folder: Path, report: Mapping[str, Any]) -> Status:
    """Say how a run stands, by its report and by who works on it."""
    worker = folders.worker(folder)
    running = worker is not None and report["state"] != "finished"
    return Status(
        run_id=report["run_id"],
        state="running" if running else report["state"],
        outcome=None if running else report["outcome"],
        exit_code=None if running else report["exit_code"],
        playbook=report["playbook"],
        mode=report["mode"],
        target=report["target"],
        started_at=report["started_at"],
        seconds=report["seconds"],
        phase=report["phases"][-1] if report["phases"] else None,
        pid=worker.pid if worker else None,
        folder=folder,
    )


@contextlib.contextmanager
def _held(folder: Path, owner: Process, deadline: float) -> Iterator[folders.Hold]:
    """Hold a run folder, as soon as who runs it lets go. Raises Busy."""
    while True:
        try:
            hold = folders.Hold(folder)
            break
        except Busy:
            if time.monotonic() > deadline:
                raise Busy(
                    f"The playbook of run {folder.name} was ended, but process {owner.pid} does not let go of the run",
                    next_action=f"end process {owner.pid}; recovery resume {folder.name} goes on where the run was",
                ) from None
            time.sleep(POLL_SECONDS)
    try:
        yield hold
    finally:
        hold.release()
