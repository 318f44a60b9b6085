# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the collection is, and what this package may know of it: the journal, its report, approvals, the variables."""

from __future__ import annotations

import importlib
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

from .errors import WrongCall

NAME = "platform.recovery"
UTILS = "ansible_collections.platform.recovery.plugins.module_utils"


@cache
def collections_path() -> Path:
    """Find the folder that holds `ansible_collections`: inside the wheel, or the checkout's `.collections`."""
    here = Path(__file__).resolve().parent
    for folder in (here / "_collections", *(parent / ".collections" for parent in here.parents)):
        if (folder / "ansible_collections/platform/recovery/playbooks").is_dir():
            return folder
    raise WrongCall(
        "The collection platform.recovery is not beside this package",
        next_action="install the wheel, or run make setup in the checkout",
    )


def playbooks() -> list[str]:
    """Name the playbooks of the collection as people type them."""
    folder = collections_path() / "ansible_collections/platform/recovery/playbooks"
    return sorted(path.stem.replace("_", "-") for path in folder.glob("*.yml"))


@cache
def module(name: str) -> ModuleType:
    """Import one of the collection's modules that know nothing of Ansible."""
    root = collections_path()
    if str(root) not in sys.path:
        sys.path.append(str(root))
    importlib.invalidate_caches()
    package = importlib.import_module("ansible_collections")
    part = str(root / "ansible_collections")
    if part not in list(package.__path__):  # a regular package of that name, or one imported before
        package.__path__.append(part)
    return importlib.import_module(f"{UTILS}.{name}")
