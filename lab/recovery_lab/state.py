# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the lab keeps what it made: one folder outside the clone, because unprivileged processes must reach it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import LabError


def clone_folder() -> Path:
    """Give the folder of the clone that this lab belongs to."""
    return Path(__file__).resolve().parents[2]


def default_folder() -> Path:
    """Give the folder of a lab that nobody chose another for: one named after the clone's path."""
    digest = hashlib.sha256(str(clone_folder()).encode()).hexdigest()
    return Path("/var/tmp").resolve() / f"recovery-lab-{digest[:8]}"


def state_folder() -> Path:
    """Give the lab's folder: RECOVERY_LAB_STATE, else the default one. It is resolved, like the paths in /proc."""
    chosen = os.environ.get("RECOVERY_LAB_STATE")
    if not chosen:
        return default_folder()
    found = Path(chosen).resolve()
    if not re.fullmatch(r"[A-Za-z0-9/._-]+", str(found)):
        # It becomes part of connection strings, archive commands and configurations, each with quotes of its own.
        raise LabError(
            f"RECOVERY_LAB_STATE names {str(found)!r}: a lab's folder may only have letters, digits and ._- in its "
            f"path. Name another one."
        )
    return found


@dataclass(frozen=True)
class State:
    """The folder's layout, and its small files."""

    root: Path

    @property
    def secrets(self) -> Path:
        """Keys and passwords; only the lab's own user may read it."""
        return self.root / "secrets"

    @property
    def pki(self) -> Path:
        """The authority's key and each server's key and certificate."""
        return self.root / "pki"

    @property
    def logs(self) -> Path:
        """One log a process."""
        return self.root / "logs"

    @property
    def snapshot(self) -> Path:
        """The first healthy state's data."""
        return self.root / "snapshot"

    @property
    def first(self) -> Path:
        """What the servers said of themselves in that state: by it is seen what has changed since."""
        return self.root / "first"

    @property
    def ca(self) -> Path:
        """The certificate of the lab's own authority."""
        return self.root / "ca.crt"

    @property
    def settings_file(self) -> Path:
        """What `up` was asked for."""
        return self.root / "settings.json"

    def kubeconfig(self, region: str) -> Path:
        """The operator's access to a region's cluster."""
        return self.root / "kubeconfig" / f"{region}.yml"

    def server(self, region: str, kind: str) -> Path:
        """Give the folder of one server."""
        return self.root / region / kind

    def data(self, region: str, kind: str) -> Path:
        """Give the folder of one server's data: what a snapshot keeps."""
        return self.root / "data" / region / kind

    def archive(self, region: str) -> Path:
        """Give the folder into which a region's database archives its WAL."""
        return self.root / "archive" / region

    def log(self, process: str) -> Path:
        """Give the log of a process by its id."""
        return self.logs / f"{process}.log"

    def settings(self) -> dict[str, Any]:
        """Read what an earlier `up` was asked for; empty before the first."""
        return read_json(self.settings_file)

    def secret(self, name: str) -> str:
        """Give a password of this lab, made up at its first use."""
        path = self.secrets / name
        if not path.exists():
            write(path, secrets.token_urlsafe(24), mode=0o600)
        return path.read_text()


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; a missing file is an empty one."""
    content: dict[str, Any] = _read(path, {})
    return content


def read_list(path: Path) -> list[dict[str, Any]]:
    """Read a JSON list; a missing file is an empty one."""
    content: list[dict[str, Any]] = _read(path, [])
    return content


def _read(path: Path, missing: Any) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return missing
    except ValueError as error:
        raise LabError(f"{path} is damaged ({error}). End the lab, remove {path} and run `recovery-lab up`.") from error


def write(path: Path, content: str | bytes, mode: int = 0o644) -> Path:
    """Write a file whole or not at all; nobody ever sees half of it or a secret with open permissions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, mode)
        file.write(content.encode() if isinstance(content, str) else content)
    Path(name).replace(path)
    return path
