# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run folders: where they are, which there are, and who works on one at present."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ._collection import module
from .errors import Busy, WrongCall
from .events import Event, from_record
from .processes import Process

JOURNAL = "journal.jsonl"
OWNER = "runner.json"
CALL = "call.json"
CANCEL = "cancel"
FIELDS = {"seq", "time", "run_id", "event", "hash", "data"}
ATTEMPTS = ("run_started", "run_resumed")


def sink(url: str | None, cwd: Path | None = None) -> Path:
    """Give the folder that `recovery_journal` names. Raises WrongCall."""
    with _wrong_call():
        folder: Path = module("run").sink_folder(url, cwd)
    return folder


def fetch(url: str | None, name: str | None = None, most: int | None = 1) -> str | None:
    """Make the runs of this name, or the newest, equal here and in a sink in object storage. Raises WrongCall.

    Says what hindered that, for what is here can be shown all the same.
    """
    sinks = module("sink")
    with _wrong_call():
        address = sinks.Address.parse(url)
        if address is None:
            return None
        root, trouble = sink(url), None
        try:
            here = {folder.name for folder in runs(root) if sinks.bound(folder, address)}
            known = sorted(here.union(sinks.runs_of(address)), reverse=True)  # made-up names begin with their time
            wanted = [name] if name and name in known else [run for run in known if run.startswith(name or "")][:most]
            for found in wanted:
                folder = root / found
                if worker(folder) is None:
                    trouble = _caught_up(sinks, address, folder) or trouble
        except sinks.SinkDown as error:
            return f"The sink {url} is down: {error}; what follows is what this machine has"
    return trouble


def _caught_up(sinks: Any, address: Any, folder: Path) -> str | None:
    journal = module("journal").Journal.open(folder, folder.name)
    try:
        sinks.Mirror(folder, journal, address).catch_up()
    except module("errors").PreconditionFailed as error:
        return str(error)
    return None


def url(folder: Path) -> str:
    """Give the URL that names a folder as a sink."""
    return f"file:{quote(str(folder))}"


def run_id(wish: str | None, playbook: str) -> str:
    """Give the wanted name of a run if it can be one, else make one up. Raises WrongCall."""
    with _wrong_call():
        name: str = module("run").run_id(wish, playbook)
    return name


@contextlib.contextmanager
def _wrong_call() -> Iterator[None]:
    try:
        yield
    except module("errors").BadInput as error:
        raise WrongCall(error.what, next_action=error.next_action) from None


@dataclass(frozen=True)
class Owner:
    """The process that runs a playbook for somebody, and the playbook's process."""

    runner: Process
    playbook: Process | None
    mark: str

    @classmethod
    def read(cls, folder: Path) -> Owner | None:
        """Read it from a run folder; None where nobody left word."""
        try:
            data = json.loads((folder / OWNER).read_text(encoding="utf-8"))
            playbook = data["playbook"]
            return cls(Process(*data["runner"]), Process(*playbook) if playbook else None, str(data["mark"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, folder: Path) -> None:
        """Leave word in the run folder."""
        playbook = [self.playbook.pid, self.playbook.started] if self.playbook else None
        data = {"runner": [self.runner.pid, self.runner.started], "playbook": playbook, "mark": self.mark}
        write(folder / OWNER, json.dumps(data))

    @property
    def alive(self) -> bool:
        """Whether either of the two still works on the run."""
        return self.runner.alive or bool(self.playbook and self.playbook.alive)


def attempts(folder: Path) -> list[dict[str, Any]]:
    """Give the records that begin the attempts of a run."""
    return [record for record in Tail(folder / JOURNAL).read() if record["event"] in ATTEMPTS]


def working(folder: Path) -> Owner | None:
    """Give who runs this run for somebody now."""
    owner = Owner.read(folder)
    return owner if owner and owner.alive else None


def worker(folder: Path) -> Process | None:
    """Give the process that works on this run now: who runs it for somebody, else its ansible-playbook.

    One on another host cannot be seen from here.
    """
    owner = working(folder)
    if owner:
        return owner.runner if owner.runner.alive else owner.playbook
    starts = attempts(folder)
    controller = starts[-1]["data"].get("controller") if starts else None
    if not controller or not controller["started"] or controller["host"] != socket.gethostname():
        return None
    process = Process(int(controller["pid"]), int(controller["started"]))
    return process if process.alive else None


def refuse_second(folder: Path, run_id: str) -> None:
    """Raise Busy if somebody works on the run: two controllers would undo each other's steps."""
    if process := worker(folder):
        end = f"recovery cancel {run_id}" if working(folder) else "Ctrl-C where it runs"
        raise Busy(
            f"Run {run_id} is going on already, in process {process.pid} on {socket.gethostname()}",
            next_action=f"follow it with recovery status {run_id}, or end it with {end}",
        )


class Hold:
    """The run folder, held by one process at a time: from before the playbook starts until its end is journalled.

    The kernel lets go of it when the process dies. A folder that cannot be made or held (the inventory may name
    another one) is not held: whether a journal can be written there is for the playbook to say.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made = not folder.exists()
        self._descriptor: int | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._made = False
            self.release()
            raise Busy(
                f"Run {folder.name} is being started or ended by another process",
                next_action=f"see how it stands with recovery status {folder.name}",
            ) from None
        except OSError:  # not to be written, or a file system without such locks
            return

    def release(self) -> None:
        """Let go; a folder that was made for this and in which no run was opened goes too."""
        if self._made:
            with contextlib.suppress(OSError):
                self.folder.rmdir()
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)  # a process forked meanwhile must not keep it
            os.close(self._descriptor)
            self._descriptor = None


def write(path: Path, text: str) -> None:
    """Write a private file as a whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


def leave(folder: Path) -> None:
    """Take back the word that was left in the run folder."""
    for name in (OWNER, CANCEL):
        with contextlib.suppress(OSError):
            (folder / name).unlink()


def stop_canary(folder: Path) -> None:
    """Ask the run's own canary to end: it is no part of the run's processes, so that it survives their death."""
    canary = folder / "canary"
    if canary.is_dir():
        (canary / "stop").touch()


def to_json(data: Mapping[str, Any]) -> str:
    """Render for a person who looks into the folder."""
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def read_call(folder: Path) -> Mapping[str, Any]:
    """Read how the run was called; empty if it was not called through this package."""
    with contextlib.suppress(OSError, ValueError):
        data = json.loads((folder / CALL).read_text(encoding="utf-8"))
        if isinstance(data, dict):
            return data
    return {}


def runs(root: Path) -> list[Path]:
    """List the run folders, the newest first."""
    folders = [path.parent for path in root.glob(f"*/{JOURNAL}")] if root.is_dir() else []
    return sorted(folders, key=_changed_at, reverse=True)


def _changed_at(folder: Path) -> float:
    try:
        return (folder / JOURNAL).stat().st_mtime
    except OSError:  # removed since it was listed
        return 0.0


def find(root: Path, name: str | None) -> Path:
    """Find a run by its id, by the beginning of it, by its folder; the newest without a name."""
    known = runs(root)
    if name is None:
        if not known:
            raise WrongCall(f"There is no run in {root}", next_action="give the sink of its journal with --journal")
        return known[0]
    for candidate in (root / name, Path(name)):
        if (candidate / JOURNAL).is_file():
            return candidate
    matches = [folder for folder in known if folder.name.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        names = ", ".join(folder.name for folder in matches[:5])
        raise WrongCall(
            f"{name!r} begins the names of {len(matches)} runs: {names}", next_action="give more of the name"
        )
    hint = _nearest(name, [folder.name for folder in known])
    raise WrongCall(f"There is no run {name!r} in {root}{hint}", next_action="recovery list shows what there is")


def nearest(name: str, valid: list[str]) -> str | None:
    """Give the valid name nearest to what was typed.

    The collection has the same in schema.py, which is none of this package's business (docs/architecture.md).
    """
    import difflib  # only a typo pays for it

    matches = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    return matches[0] if matches else None


def _nearest(name: str, valid: list[str]) -> str:
    match = nearest(name, valid)
    return f"; did you mean {match!r}?" if match else ""


class Tail:
    """Reads the records of a journal as they are appended; a line that is not whole yet is waited for."""

    def __init__(self, path: Path, from_seq: int = 0) -> None:
        self.path = path
        # The number of the last record that was read, or would have been were it wanted.
        self.seq = max(0, from_seq - 1)
        self._offset = 0

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield what is new."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        return
                    self._offset += len(line)
                    record = _record(line)
                    if record and record["seq"] > self.seq:
                        self.seq = record["seq"]
                        yield record
        except OSError:  # not there yet, or not to be read at the moment: it is tried again
            return


def follow(tail: Tail, more: Callable[[], bool]) -> Iterator[Event]:
    """Yield events as they are journalled; `more` waits for something new, and says False when nothing else comes."""
    going = True
    while going:
        going = more()  # asked before the last look, so that nothing is missed that was written before the end
        for record in tail.read():
            yield from_record(record)


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:  # torn by a crash
        return None
    whole = isinstance(record, dict) and record.keys() >= FIELDS and isinstance(record["data"], dict)
    return record if whole and isinstance(record["seq"], int) else None
