# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a folder back to a kept copy of it, touching only what has changed since."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path


def bring_back(kept: Path, folder: Path) -> None:
    """Make a folder what its kept copy is. Nobody may write to either meanwhile.

    A file is taken for unchanged if its kind, size, owner, mode and time of change, to the nanosecond, are those of the
    copy, which has them from the original: whoever writes to a file changes its time.
    """
    if not stat.S_ISDIR(kept.lstat().st_mode):
        raise NotADirectoryError(f"{kept} is no folder")
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        folder.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {entry.name: entry for entry in os.scandir(kept)}
    for entry in list(os.scandir(folder)):
        if entry.name not in wanted:
            _remove(Path(entry.path))
    for name, entry in wanted.items():
        target = folder / name
        if entry.is_dir(follow_symlinks=False):
            bring_back(Path(entry.path), target)
        elif _signature(Path(entry.path)) != _signature(target):
            _remove(target)
            _copy(Path(entry.path), target)
    _stamp(kept, folder)


def _signature(path: Path) -> tuple[int, ...]:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return ()
    return found.st_mode, found.st_size, found.st_uid, found.st_gid, found.st_mtime_ns


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target, follow_symlinks=False)
    _stamp(source, target)


def _stamp(source: Path, target: Path) -> None:
    """Give a copy the owner, mode and times of what it was copied from."""
    found = source.lstat()
    if os.geteuid() == 0:
        os.chown(target, found.st_uid, found.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(found.st_mode):
        target.chmod(stat.S_IMODE(found.st_mode))
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns), follow_symlinks=False)
