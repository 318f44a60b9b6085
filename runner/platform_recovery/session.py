# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start a playbook, follow its journal, end it for certain."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Unpack

from . import folders
from ._collection import NAME, module
from .call import Call, Wishes
from .events import Event, RunEnded, RunResumed, RunStarted, from_record
from .processes import Process, end, identify, identify_self, playbook_of
from .result import Cancelled, Result, unopened

POLL_SECONDS = 0.02
KEPT_LINES = 60
SETTLE_SECONDS = 5.0
NOTE_SECONDS = 0.5
# How long a cancel waits for a playbook that is only about to be started.
START_SECONDS = 10.0
# What it answers to state begin says which run was opened, and where.
CHECKPOINT = f"{NAME}.checkpoint"
PRIVATE_PREFIX = "platform-recovery-"
# What ansible-playbook says with these is that it never began: options, or a file that cannot be parsed. 4 may also be
# an unreachable host, so that no task may have been heard of.
NEVER_BEGAN = (4, 5)
NO_INVENTORY = ("inventory", "Unable to parse")


class Run:
    """A run that was started, with its `id` and, once it is opened, its `folder`; it ends with this process.

    `events`, `cancel` and `wait` may be used from different threads.
    """

    def __init__(self, call: Call, on_output: Callable[[str], None] | None = None) -> None:
        self.call = call
        self.id = call.run_id
        self.folder: Path | None = None
        self._hold = folders.Hold(call.guessed_folder)
        self._tail: folders.Tail | None = None
        self._on_output = on_output
        self._mark = secrets.token_hex(8)
        self._private = _private_folder()
        # What the follower has seen of the journal; readers read the file themselves, so that a slow one holds nothing.
        self._told = threading.Condition()
        self._reader: folders.Tail | None = None
        self._seen = 0
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._failure: Mapping[str, Any] | None = None
        self._playbook: Process | None = None
        self._cancelled: Cancelled | None = None
        self._cancelling = threading.Lock()
        self._hurry = False
        self._last_resort = False
        self._abandoned = False
        self._worked = False
        self._code: int | None = None
        self._broken: Exception | None = None
        self._opened = False
        self._ended = False
        self._result: Result | None = None
        self._done = threading.Event()
        self._playing = threading.Thread(target=self._play, name=f"recovery-{self.id}", daemon=True)
        self._following = threading.Thread(target=self._follow, name=f"recovery-follow-{self.id}", daemon=True)
        self._playing.start()
        self._following.start()

    def events(self, after: int | None = None) -> Iterator[Event]:
        """Yield the run's events in their order, as they happen, until it is over.

        They are read from the journal when they are asked for, so that a reader may be as slow as it likes. Without
        `after` they begin with this attempt, and who asks again goes on where the last reader stopped: for one reader
        at a time. With `after` they begin behind the event of that number, also of earlier attempts (0: with the very
        first), for as many readers as there are.
        """
        with self._told:
            self._told.wait_for(lambda: self._reader or self._done.is_set())
        tail = self._reader
        if tail and after is not None:
            tail = folders.Tail(tail.path, from_seq=after + 1)
        if tail:
            yield from folders.follow(tail, partial(self._more, tail))

    def cancel(self, reason: str = "cancelled by the caller") -> Cancelled:
        """End the playbook and everything it started. Returns when that is certain, or names what cannot be ended.

        Nothing is alive after two seconds as a rule, and what hangs in the kernel is named after three. For a playbook
        that is only about to be started it waits until it can be no more.
        """
        with self._cancelling:
            if self._cancelled is None and self._playing.is_alive():
                self._cancelled = Cancelled(reason)
                self._note(reason)
                remaining = self._end()
                names = tuple(f"{process.pid} {process.command}" for process in remaining)
                self._cancelled = Cancelled(reason, names)
                if self.folder:
                    folders.stop_canary(self.folder)
            return self._cancelled or Cancelled("the run was over already")

    def hurry(self) -> None:
        """Take its patience from a cancel that goes on: what is left is killed. Safe in a signal handler."""
        self._hurry = True

    def wait(self, timeout: float | None = None) -> Result:
        """Wait for the end. Raises TimeoutError if it does not come in time; the run goes on then."""
        if not self._done.wait(timeout):
            raise TimeoutError(f"run {self.id} still goes on")
        if self._result is None:
            raise RuntimeError(f"Run {self.id} was ended, for it could not be followed: {self._broken}")
        return self._result

    @property
    def cancelled(self) -> Cancelled | None:
        """Whether a cancel was asked for, and what it left."""
        return self._cancelled

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return not self._done.is_set()

    @property
    def output(self) -> str:
        """Give the last lines that ansible-playbook wrote."""
        return "\n".join(self._lines)

    def _note(self, reason: str) -> None:
        """Journal why, while the playbook can still be part of the story; its lock may be held by what is frozen."""
        folder = self.folder
        if folder is None or not self._opened:
            return
        journal = module("journal").Journal(folder, self.id)
        writer = threading.Thread(
            target=journal.append, args=("observation",), kwargs={"what": "Cancel", "lines": [reason]}, daemon=True
        )
        writer.start()
        writer.join(NOTE_SECONDS)

    def _end(self) -> list[Process]:
        """End what runs, again and again until nothing can be started any more; gives what could not be ended."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            remaining = end(self._mark, self._playbook or playbook_of(self._mark), hurry=lambda: self._hurry)
            self._last_resort = True
            self._playing.join(POLL_SECONDS)
            if remaining or not self._playing.is_alive() or time.monotonic() > deadline:
                # A process that cannot be killed must not hold up everybody who waits.
                self._abandoned = self._playing.is_alive()
                return remaining

    def _play(self) -> None:
        """Run ansible-runner; the journal tells how it went, this only when it is over."""
        try:
            import ansible_runner  # a third of a second that nothing but a run has to pay

            runner = ansible_runner.interface.init_runner(
                **self.call.runner_arguments(self._private, self._mark),
                event_handler=self._hear,
                # Its own cancel leaves work behind (see processes.py), so it only comes after ours.
                cancel_callback=lambda: self._last_resort,
            )
            if self._cancelled is None:  # a cancel from here on finds the process, or looks for it again
                runner.run()
            self._code = runner.rc
        except Exception as error:
            self._broken = error
            self._lines.append(f"ansible-runner failed: {error}")
        finally:
            if self._broken or self._cancelled:
                end(self._mark, self._playbook or playbook_of(self._mark), hurry=lambda: self._hurry)
            self._code = 250 if self._code is None else self._code

    def _hear(self, event: Mapping[str, Any]) -> bool:
        """Take from an event of ansible-runner what the journal cannot say. False: keep nothing of it on disk."""
        if self._playbook is None and event.get("pid"):
            self._playbook = identify(int(event["pid"]))
        text = str(event.get("stdout") or "")
        if text:
            self._lines.extend(text.splitlines())
            self._tell(text)
        self._worked = self._worked or str(event.get("event")).startswith("runner_on_")
        data = event.get("event_data") or {}
        found = data.get("res")
        if isinstance(found, Mapping):
            if event.get("event") == "runner_on_failed" and not data.get("ignore_errors"):
                self._failure = found
            if data.get("task_action") == CHECKPOINT and found.get("id") and found.get("folder"):
                self.folder = self.call.cwd / str(found["folder"])
        return False

    def _tell(self, text: str) -> None:
        """Pass on what is written; a listener that breaks hears no more, and the run goes on without it."""
        try:
            if self._on_output:
                self._on_output(text)
        except Exception as error:
            self._on_output = None
            self._lines.append(f"The listener of the output failed: {error!r}")

    def _follow(self) -> None:
        """Follow the run and judge it; whatever happens here, those who wait are told that it is over."""
        try:
            self._watch()
            self._result = self._conclude()
        except Exception as error:
            # What nobody can follow, stop or time any more is not left to itself.
            self._broken = error
            self.cancel(f"it could not be followed any more: {error!r}")
        finally:
            if self.folder and self._tail:
                folders.leave(self.folder)
            self._hold.release()
            shutil.rmtree(self._private, ignore_errors=True)
            self._done.set()
            self._tell_readers()

    def _watch(self) -> None:
        """Turn records into events, and watch for cancels and the time-out, until it is over."""
        begin = time.monotonic()
        while True:
            over = self._abandoned or not self._playing.is_alive()
            if self._tail is None and self.folder is not None:
                self._tail = self._open(self.folder)
            self._drain()
            if over:
                break
            if self.folder is not None and (self.folder / folders.CANCEL).exists():
                self.cancel(_read(self.folder / folders.CANCEL) or "cancelled from another process")
            elif self.call.timeout is not None and time.monotonic() - begin > self.call.timeout:
                self.cancel(f"timed out after {self.call.timeout:g} s")
            self._playing.join(POLL_SECONDS)

    def _conclude(self) -> Result:
        """Judge, and tell what that adds to the journal."""
        try:
            with self._cancelling:
                return self._judge()
        except Exception as error:
            return Result.from_report(self._report(2, f"The run's report could not be made: {error}"))
        finally:
            self._drain()

    def _open(self, folder: Path) -> folders.Tail:
        """Begin to follow the journal where this attempt begins."""
        if folder.resolve() != self._hold.folder.resolve():  # the inventory names the sink
            self._hold.release()
            self._hold = folders.Hold(folder)
        starts = folders.attempts(folder)
        begin = starts[-1]["seq"] if starts else 0
        tail = folders.Tail(folder / folders.JOURNAL, from_seq=begin)
        with self._told:
            self._reader = folders.Tail(folder / folders.JOURNAL, from_seq=begin)
            self._told.notify_all()
        owner = folders.Owner(identify_self(), self._playbook, self._mark)
        with contextlib.suppress(OSError):  # a cancel from elsewhere is a convenience, the run is not
            (folder / folders.CANCEL).unlink(missing_ok=True)
            owner.write(folder)
            folders.write(folder / folders.CALL, folders.to_json(self.call.remembered()))
        return tail

    def _drain(self) -> None:
        for record in self._tail.read() if self._tail else ():
            event = from_record(record)
            self._opened = self._opened or isinstance(event, (RunStarted, RunResumed))
            self._ended = self._ended or isinstance(event, RunEnded)
        if self._tail and self._tail.seq > self._seen:
            self._tell_readers()

    def _tell_readers(self) -> None:
        """Wake those who wait for what comes next."""
        with self._told:
            self._seen = self._tail.seq if self._tail else 0
            self._told.notify_all()

    def _more(self, tail: folders.Tail) -> bool:
        """Wait until there is something behind what was read. False: nothing comes any more."""
        with self._told:
            self._told.wait_for(lambda: self._seen > tail.seq or self._done.is_set())
        return not self._done.is_set()

    def _judge(self) -> Result:
        """Say how it ended, by the journal; complete the journal where the playbook could not."""
        cancelled = self._cancelled
        if not self._opened or self.folder is None:
            return Result.from_report(self._never_opened(cancelled))
        if cancelled and not self._ended:
            journal = module("journal").Journal(self.folder, self.id)
            journal.append("run_ended", outcome="cancelled", why=cancelled.reason, remaining=list(cancelled.remaining))
        module("report").render(self.folder)
        module("evidence").conclude(self.folder)
        module("sink").finish(self.folder)
        report = dict(module("report").load(self.folder))
        if not cancelled and self._broken:
            # Ended by this package then, however the playbook took it.
            report.update(self._report(2, f"ansible-runner failed: {self._broken}", keep=report))
        elif not cancelled and self._code and report["exit_code"] in (0, 3):
            # The playbook failed after the journal had closed: no green light then.
            report.update(self._report(2, "The playbook failed after its run had ended", keep=report))
        return Result.from_report(report, self.folder)

    def _never_opened(self, cancelled: Cancelled | None) -> dict[str, Any]:
        if cancelled:
            return self._report(5, f"Ended before the run was opened: {cancelled.reason}")
        failure = self._failure or {}
        if failure.get("kind"):
            code = {"bad_input": 1, "refused": 4}.get(str(failure["kind"]), 2)
            return self._report(code, str(failure.get("msg")), failure.get("next_action"))
        last = "\n".join(line for line in list(self._lines)[-12:] if line.strip())
        wrong = self._code in NEVER_BEGAN or (self._code == 1 and any(word in last for word in NO_INVENTORY))
        wrong = wrong and not self._worked
        if self._code == 0:
            return self._report(2, "The playbook ended without opening a run, so nothing is known of what it did")
        words = "The call could not be understood" if wrong else "ansible-playbook failed before the run was opened"
        return self._report(1 if wrong else 2, f"{words} (its exit code was {self._code}):\n{last}")

    def _report(
        self, code: int, message: str, next_action: str | None = None, keep: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        failure = {
            "kind": {1: "bad_input", 4: "refused"}.get(code, "failed"),
            "msg": message,
            "next_action": next_action,
        }
        empty = unopened(
            run_id=self.id,
            playbook=self.call.name,
            mode=self.call.mode,
            target=self.call.target,
            exit_code=code,
            failure=failure,
        )
        if keep is None:
            return empty
        return {"outcome": "failed", "exit_code": code, "failures": [*keep["failures"], failure]}


def start(
    playbook: str,
    *,
    inventory: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    mode: str | None = None,
    target: str | None = None,
    confirm: str | None = None,
    reason: str | None = None,
    detected_at: str | None = None,
    run_id: str | None = None,
    journal: str | None = None,
    allow_data_loss: bool = False,
    fence_statement: str | None = None,
    check: bool = False,
    variables: Mapping[str, Any] | None = None,
    variable_files: Sequence[str | os.PathLike[str]] = (),
    timeout: float | None = None,
    cwd: str | os.PathLike[str] | None = None,
    on_output: Callable[[str], None] | None = None,
) -> Run:
    """Start a playbook (a dashed name, or the path of one of your own) and return at once.

    Raises WrongCall for what is wrong with the call itself. `variables` may hold secrets: they are never on a command
    line and are gone from disk when the run is over. `timeout` cancels the run. `on_output` hears the text that
    ansible-playbook writes, for people; programs read the events.
    """
    call = Call.of(
        playbook,
        inventory,
        mode=mode,
        target=target,
        confirm=confirm,
        reason=reason,
        detected_at=detected_at,
        run_id=run_id,
        journal=journal,
        allow_data_loss=allow_data_loss,
        fence_statement=fence_statement,
        check=check,
        variables=variables,
        variable_files=variable_files,
        timeout=timeout,
        cwd=cwd,
    )
    folders.refuse_second(call.guessed_folder, call.run_id)
    return Run(call, on_output)


def run(
    playbook: str,
    *,
    inventory: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    journal: str | None = None,
    cwd: str | os.PathLike[str] | None = None,
    on_output: Callable[[str], None] | None = None,
    on_event: Callable[[Event], None] | None = None,
    **wish: Unpack[Wishes],
) -> Result:
    """Run a playbook to its end; takes what `start` takes. An exception of `on_event` cancels the run and is raised."""
    running = start(playbook, inventory=inventory, journal=journal, cwd=cwd, on_output=on_output, **wish)
    try:
        for event in running.events():
            if on_event:
                on_event(event)
    except BaseException:
        running.cancel("the caller was interrupted")
        with contextlib.suppress(TimeoutError, RuntimeError):
            running.wait(SETTLE_SECONDS)
        raise
    return running.wait()


def _private_folder() -> Path:
    """Make the folder for what may be secret, in memory where there is such a place; clear those of killed runs."""
    memory = Path("/dev/shm")
    root = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    for left in root.glob(f"{PRIVATE_PREFIX}*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid, started = left.name.removeprefix(PRIVATE_PREFIX).split("-")[:2]
            if left.stat().st_uid == os.getuid() and not Process(int(pid), int(started)).alive:
                shutil.rmtree(left, ignore_errors=True)
    own = identify_self()
    return Path(tempfile.mkdtemp(prefix=f"{PRIVATE_PREFIX}{own.pid}-{own.started}-", dir=root))


def _read(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8").strip()
    return ""
