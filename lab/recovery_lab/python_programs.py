# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that are written in Python: an interpreter and packages that the lab's user can reach.

Started as root the lab runs as nobody, who may enter neither root's home nor a clone below it. The packages of this
very environment are copied into the cache then: nothing is fetched, and the versions are those that were locked.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
from importlib import metadata
from pathlib import Path

from . import cache, identity
from .errors import LabError


def interpreter() -> Path:
    """Give a Python that the lab's user may run, this one if possible."""
    this = Path(sys.executable).resolve()
    minor = f"python3.{sys.version_info.minor}"
    others = [Path(folder) / name for name in (minor, "python3") for folder in ("/usr/local/bin", "/usr/bin")]
    for path in (this, *others):
        if path.exists() and identity.reachable(path):
            return path
    raise LabError(
        f"{this} is out of reach of {identity.user_name(identity.user_id())}, as whom the lab runs, and there is no "
        f"other Python. Install python3 where everybody may read, or call recovery-lab as an ordinary user."
    )


def packages(name: str) -> Path:
    """Give a folder that holds a package with all that it needs, and that the lab's user may read."""
    distributions = closure(name)
    home = Path(str(distributions[0].locate_file("")))
    if identity.reachable(home):
        return home
    versions = sorted(f"{one.metadata['Name']}=={one.version}" for one in distributions)
    digest = hashlib.sha256("\0".join((sys.version, *versions)).encode()).hexdigest()[:16]
    return cache.entry(f"python/{name}-{digest}", lambda target: _copy(distributions, home, target))


def closure(name: str) -> list[metadata.Distribution]:
    """List a package and what it needs, as far as it is installed: extras that nobody asked for are not."""
    found: dict[str, metadata.Distribution] = {}
    waiting = [name]
    while waiting:
        key = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if key in found:
            continue
        try:
            found[key] = metadata.distribution(key)
        except metadata.PackageNotFoundError:
            if key == name:
                raise LabError(f"The Python package {name} is missing beside recovery-lab. Run `make setup`.") from None
            continue
        waiting += [match[0] for one in found[key].requires or () if (match := re.match(r"[\w.-]+", one))]
    return list(found.values())


def _copy(distributions: list[metadata.Distribution], home: Path, target: Path) -> None:
    paths = [file.parts[0] for one in distributions for file in one.files or () if file.parts]
    names = {*paths} - {"..", "__pycache__"}
    for name in sorted(names):
        source = home / name
        if source.is_dir():
            shutil.copytree(source, target / name)
        elif source.exists():
            shutil.copy2(source, target / name)
