# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run folders: where they are, which there are, and who works on one at present."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._collection import module
from .errors import WrongCall
from .processes import Process

JOURNAL = "journal.jsonl"
OWNER = "runner.json"
CALL = "call.json"
CANCEL = "cancel"
_RUN_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")


def sink(url: str | None, cwd: Path | None = None) -> Path:
    """Give the folder that `recovery_journal` names."""
    run = module("run")
    errors = module("errors")
    try:
        folder: Path = run.sink_folder(url, cwd)
    except errors.BadInput as error:
        raise WrongCall(error.what, next_action=error.next_action) from None
    return folder


def new_id(playbook: str) -> str:
    """Make up a run id that sorts by time."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{playbook}-{secrets.token_hex(2)}"[:100]


def check_id(run_id: str) -> str:
    """Give the id back if it can name a run."""
    if not _RUN_ID.fullmatch(run_id) or run_id in (".", ".."):
        raise WrongCall(
            f"The run id {run_id!r} cannot name a run",
            next_action="use 1 to 100 letters, digits, dots, underscores and dashes",
        )
    return run_id


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


def working(folder: Path) -> Owner | None:
    """Give who works on this run now."""
    owner = Owner.read(folder)
    return owner if owner and owner.alive else None


def write(path: Path, text: str) -> None:
    """Write a private file as a whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


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
    return sorted(folders, key=lambda folder: (folder / JOURNAL).stat().st_mtime, reverse=True)


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
    """Give the valid name nearest to what was typed."""
    import difflib  # only a typo pays for it

    matches = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    return matches[0] if matches else None


def _nearest(name: str, valid: list[str]) -> str:
    match = nearest(name, valid)
    return f"; did you mean {match!r}?" if match else ""


class Tail:
    """Reads the records of a journal as they are appended; a line that is not whole yet is waited for."""

    def __init__(self, path: Path, from_seq: int = 0) -> None:
        self._path = path
        self._from_seq = from_seq
        self._offset = 0

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield what is new."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        return
                    self._offset += len(line)
                    with contextlib.suppress(ValueError):
                        record = json.loads(line)
                        if isinstance(record, dict) and "hash" in record and record["seq"] >= self._from_seq:
                            yield record
        except FileNotFoundError:
            return
