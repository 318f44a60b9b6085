# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who the lab's processes are: the user who starts it, or nobody if that is root (PostgreSQL refuses root)."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import LabError

NOBODY = 65534
# What says that a folder is a lab's: we never take over one that holds anything else.
MARKER = ".recovery-lab"


def is_root() -> bool:
    """Tell whether privileges have to be dropped."""
    return os.geteuid() == 0


def user_id() -> int:
    """Give the number of the lab's user."""
    return NOBODY if is_root() else os.geteuid()


def drop() -> dict[str, Any]:
    """Give the arguments by which subprocess starts a process as the lab's user."""
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if is_root() else {}


def own(path: Path) -> Path:
    """Hand a file or a whole folder over to the lab's user."""
    if not is_root():
        return path
    os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    if path.is_dir() and not path.is_symlink():
        for folder, folders, files in os.walk(path):
            for name in folders + files:
                with suppress(FileNotFoundError):  # who works there may take it away meanwhile
                    os.chown(os.path.join(folder, name), NOBODY, NOBODY, follow_symlinks=False)
    return path


def make_folder(path: Path, mode: int = 0o755) -> Path:
    """Make a folder that belongs to the lab's user, with this mode also if it existed."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    if is_root():
        os.chown(path, NOBODY, NOBODY)
    return path


def clean_environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give the environment of a lab process: nothing of the caller's leaks into it."""
    return {"PATH": "/usr/bin:/bin", "HOME": str(home), "LC_ALL": "C.UTF-8", "TZ": "UTC", **(extra or {})}


def run(
    argv: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str] | None = None, what: str, seconds: float = 120
) -> str:
    """Run a program to its end as the lab's user. LabError names `what` and the program's last words."""
    try:
        done = subprocess.run(
            [str(word) for word in argv],
            cwd=cwd,
            env=clean_environment(cwd, env),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            **drop(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabError(f"{what}: {error}") from error
    if done.returncode:
        raise LabError(f"{what}: exit {done.returncode}: {last_lines(done.stderr or done.stdout)}")
    return str(done.stdout)


def last_lines(text: str, count: int = 6) -> str:
    """Give the last lines of an output, which is where programs say what went wrong."""
    return "\n".join(line[:400] for line in text.strip().splitlines()[-count:])


def reachable(path: Path) -> bool:
    """Tell whether the lab's user may read and execute this file, wherever it lies."""
    if not is_root():
        return os.access(path, os.R_OK | os.X_OK)
    path = path.resolve()
    return all(folder.stat().st_mode & 0o001 for folder in path.parents) and path.stat().st_mode & 0o005 == 0o005


def prepare_root(root: Path, *, certainly_ours: bool = False) -> None:
    """Make the lab's folder, private to its user. LabError if that user could not get there, or it is not ours."""
    if root.exists():
        _require_ours(root, certainly_ours)
    root.mkdir(parents=True, exist_ok=True)
    if is_root():
        closed = [folder for folder in root.resolve().parents if not folder.stat().st_mode & 0o001]
        if closed:
            raise LabError(
                f"The lab's folder {root} cannot be used: started as root the lab runs as nobody, who may not enter "
                f"{closed[0]}. Set RECOVERY_LAB_STATE to a folder elsewhere, for example below /var/tmp."
            )
        os.chown(root, NOBODY, NOBODY)
    root.chmod(0o700)
    (root / MARKER).touch()
    own(root / MARKER)


def _require_ours(root: Path, certainly_ours: bool) -> None:
    if not root.is_dir():
        raise LabError(f"The lab's folder {root} is a file. Set RECOVERY_LAB_STATE to a new or an empty folder.")
    owner = root.stat().st_uid
    readable = os.access(root, os.R_OK | os.X_OK)
    empty = readable and not any(root.iterdir())
    ours = certainly_ours or (readable and (root / MARKER).exists())
    if not (empty or ours):
        raise LabError(
            f"RECOVERY_LAB_STATE names {root}, which is not empty and no lab's (it has no {MARKER}). "
            f"The lab deletes in its folder: name a new or an empty one."
        )
    if owner != user_id() and not (empty and owner == os.geteuid()):
        raise LabError(
            f"The lab's folder {root} belongs to {user_name(owner)}, but this lab runs as {user_name(user_id())}. "
            f"Call recovery-lab as the user who made it, or set RECOVERY_LAB_STATE to a new folder."
        )


def user_name(number: int) -> str:
    """Name a user for people."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
