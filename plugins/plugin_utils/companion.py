# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process beside ansible-playbook's main one, for what goes on while tasks work.

Ansible forks its main process for each task. A lock that one of its threads holds at that moment, OpenSSL's for one
(a renewal of the lease that connects, a copy to the sink), stays locked in the child for ever, and a recovery hangs
where nobody sees why. So the main process has no thread that does more than write to a pipe; the threads live here,
where nothing is ever forked. This process ends with the main one, and shows no sign of life for one that stands still.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils import forecast, sink
from ansible_collections.platform.recovery.plugins.module_utils.errors import RecoveryError
from ansible_collections.platform.recovery.plugins.module_utils.journal import JournalError
from ansible_collections.platform.recovery.plugins.module_utils.report import build
from ansible_collections.platform.recovery.plugins.module_utils.run import Run
from ansible_collections.platform.recovery.plugins.plugin_utils.heartbeat import RELEASE_SECONDS, Heartbeat
from ansible_collections.platform.recovery.plugins.plugin_utils.pump import END_SECONDS as PUMP_END_SECONDS
from ansible_collections.platform.recovery.plugins.plugin_utils.pump import Pump

# How often the main process says that it goes on, and for how long it may be late before it is taken to stand still.
TICK_SECONDS = 1.0
STILL_SECONDS = 4.0
# How soon this process notices that the main one is gone.
LOOK_SECONDS = 0.2
# How often the outlook is looked at.
OUTLOOK_SECONDS = 1.0
# The longest that its end takes when all is well: it stops one after the other.
END_SECONDS = RELEASE_SECONDS + PUMP_END_SECONDS + LOOK_SECONDS


class Companion:
    """The main process's hold on it. It is started when there is something to do."""

    def __init__(self) -> None:
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._folder = ""

    def keep_lease(self, result: Mapping[str, Any]) -> None:
        """Renew the lease that a step took, until the end."""
        self._tell(("lease", dict(result)))

    def follow(self, run: Run, *, foretell: bool) -> None:
        """Copy a run's journal to its sink, and journal how its outlook changes if that is wanted."""
        mirrored = sink.Mirror.of(run.folder, run.journal) is not None
        if mirrored or foretell:
            self._tell(("run", run.id, str(run.folder), foretell))
        if mirrored:
            self._folder = str(run.folder)
            sink.PUMPED[self._folder] = os.getpid()

    def end(self) -> None:
        """End it: what it was in the middle of first, if that is soon over."""
        sink.PUMPED.pop(self._folder, None)
        self._over.set()
        process, self._process = self._process, None
        if process is None or self._pipe is None:
            return
        self._send(("end",))
        process.join(END_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
        self._pipe.close()

    def _tell(self, message: tuple[Any, ...]) -> None:
        if self._process is None:
            self._start()
        self._send(message)

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")
        ends = context.Pipe(duplex=False)
        theirs, self._pipe = ends
        self._process = context.Process(target=_serve, args=ends, name="recovery-companion", daemon=True)
        self._process.start()
        theirs.close()
        threading.Thread(target=self._tick, name="recovery-tick", daemon=True).start()

    def _tick(self) -> None:
        while not self._over.wait(TICK_SECONDS):
            self._send(("tick",))

    def _send(self, message: tuple[Any, ...]) -> None:
        with self._lock:
            try:
                if self._pipe:
                    self._pipe.send(message)
            except OSError:
                # It is gone: changes copy by themselves from now on, and steps renew the lease while they work.
                sink.PUMPED.pop(self._folder, None)


def _serve(pipe: Connection, other_end: Connection) -> None:
    """Do what the main process says, until it says so or is gone."""
    other_end.close()
    # Whoever interrupts a run speaks to the main process, which still needs this one until it has ended the run.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent = os.getppid()
    work = _Work()
    while os.getppid() == parent:
        if not pipe.poll(LOOK_SECONDS):
            continue
        try:
            kind, *said = pipe.recv()
        except (EOFError, OSError):
            break
        if kind == "end":
            break
        work.do(kind, *said)
    work.end()


class _Work:
    """The threads of this process."""

    def __init__(self) -> None:
        self._heard = time.monotonic()
        self._heartbeat = Heartbeat(self._main_goes_on)
        self._pump = Pump(self._main_goes_on)
        self._over = threading.Event()
        self._foretold = False

    def do(self, kind: str, *said: Any) -> None:
        """Take a message."""
        self._heard = time.monotonic()
        if kind == "lease":
            self._heartbeat.follow(said[0])
        elif kind == "run":
            run = Run.at(said[0], said[1])
            self._pump.follow(run)
            if said[2] and not self._foretold:
                self._foretold = True
                threading.Thread(target=self._foretell, args=(run,), name="recovery-outlook", daemon=True).start()

    def end(self) -> None:
        """End all."""
        self._over.set()
        self._heartbeat.stop()
        self._pump.end()

    def _main_goes_on(self) -> bool:
        return time.monotonic() - self._heard < STILL_SECONDS

    def _foretell(self, run: Run) -> None:
        """Journal that the outlook changes when it does, though a task works on and nothing else happens."""
        size, report = -1, None
        while not self._over.wait(OUTLOOK_SECONDS):
            with contextlib.suppress(RecoveryError, JournalError, OSError):
                if (now := run.journal.path.stat().st_size) != size:
                    size, report = now, build(run.journal.records())
                if report and forecast.changes(report, time.time()) and self._main_goes_on():
                    forecast.note(run.journal)
