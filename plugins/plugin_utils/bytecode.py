# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets Python keep the bytecode of this collection's own modules, as it does for any package.

Ansible's loader of collections compiles every module again in every process that imports it: a quarter of a second of
each launch. What this does not find is found as before.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from types import ModuleType

PREFIX = "ansible_collections.platform.recovery.plugins."


class Finder:
    """Finds what lies below `plugins/` by its file."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Give the file of a module or package of ours, None for everything else."""
        del target
        if not name.startswith(PREFIX):
            return None
        for folder in path or ():
            place = os.path.join(folder, name.rpartition(".")[2])
            if os.path.isfile(f"{place}.py"):
                return spec_from_file_location(name, f"{place}.py")
            package = os.path.join(place, "__init__.py")
            if os.path.isfile(package):
                return spec_from_file_location(name, package, submodule_search_locations=[place])
        return None


def install() -> None:
    """Ask here first from now on."""
    if Finder not in sys.meta_path:
        sys.meta_path.insert(0, Finder)
