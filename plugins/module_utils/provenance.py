# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run was made of: versions, programs, and the digests of every file that decided what it did.

Listings are lines as sha256sum writes them, so that `sha256sum --check` compares them with a checkout.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

# What of a collection decides what happens.
PARTS = ("galaxy.yml", "MANIFEST.json", "meta", "playbooks", "plugins", "roles")
PACKAGES = ("ansible-core", "ansible-runner", "cryptography", "Jinja2", "psycopg2-binary", "psycopg2", "PyYAML")
PROGRAMS = ("ssh", "ssh-keygen")
BESIDE_INVENTORY = ("group_vars", "host_vars")
PASSED_OVER = frozenset({"__pycache__", ".git"})
# More files than these are only given as one digest: a run's journal is not the place for a whole file system.
MOST_LISTED = 500
MOST_FILES = 5000


def versions() -> dict[str, str]:
    """Give the versions of the Python packages that take part, as far as they are installed."""
    found = {"python": sys.version.split()[0], "kernel": f"{os.uname().sysname} {os.uname().release}"}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def programs() -> list[str]:
    """Give the digests of the programs that steps may start, which say more than what they call themselves."""
    paths = [Path(sys.executable).resolve(), *(Path(path) for name in PROGRAMS if (path := shutil.which(name)))]
    return [_line(path, str(path)) for path in paths]


def collection(root: Path) -> dict[str, Any]:
    """Give the digests of the playbooks, roles and plugins of the collection in this folder."""
    return _listed(root, [file for part in PARTS for file in _files(root / part)], root)


def source(name: str) -> dict[str, Any]:
    """Give the digests of a playbook or an inventory with what Ansible reads beside it; of a mere word, the word."""
    path = Path(os.path.abspath(name))
    if not path.exists():
        return {"root": name, "files": 0, "sha256": hashlib.sha256(name.encode()).hexdigest(), "listing": []}
    if path.is_dir():
        return _listed(path, _files(path), path)
    beside = [file for part in BESIDE_INVENTORY for file in _files(path.parent / part)]
    return _listed(path, [path, *beside], path.parent)


def document(content: Any) -> dict[str, Any]:
    """Give a document with its digest. The journal redacts the one and not the other."""
    return {"sha256": digest(content), "content": content}


def digest(content: Any) -> str:
    """Give the SHA-256 of a document's canonical JSON: of what it says, and not of how it is written."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def _listed(name: Path, files: Iterable[Path], root: Path) -> dict[str, Any]:
    """Digest files, and their listing as a whole."""
    lines = [_line(file, str(file.relative_to(root))) for file in islice(files, MOST_FILES)]
    total = hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
    listing = lines if len(lines) <= MOST_LISTED else []
    return {"root": str(name), "files": len(lines), "sha256": total, "listing": listing}


def _files(path: Path) -> Iterator[Path]:
    """Walk the ordinary files, in an order that is the same everywhere."""
    if path.is_file():
        yield path
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(set(folders) - PASSED_OVER)
        yield from (file for name in sorted(files) if (file := Path(folder, name)).is_file())


def _line(path: Path, name: str) -> str:
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        found = f"unreadable ({error.strerror})"
    return f"{found}  {name}"
