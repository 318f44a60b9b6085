# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our own modules are found by their files, and nobody else's are."""

from __future__ import annotations

from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

from ansible_collections.platform.recovery.plugins.plugin_utils.bytecode import PREFIX, Finder

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"


@pytest.mark.parametrize(
    ("name", "folder", "file"),
    [
        ("module_utils.journal", "module_utils", "module_utils/journal.py"),
        ("module_utils.postgresql", "module_utils", "module_utils/postgresql/__init__.py"),
        ("module_utils.postgresql.decide", "module_utils/postgresql", "module_utils/postgresql/decide.py"),
    ],
)
def test_a_module_of_ours_is_found_with_its_bytecode(name: str, folder: str, file: str) -> None:
    spec = Finder.find_spec(PREFIX + name, [str(PLUGINS / folder)])
    assert spec is not None
    assert isinstance(spec.loader, SourceFileLoader)
    assert spec.origin == str(PLUGINS / file)
    assert spec.cached
    assert spec.cached.endswith(".pyc")


@pytest.mark.parametrize("name", ["json", "ansible_collections.other.one.plugins.module_utils.x", f"{PREFIX}nothing"])
def test_everything_else_is_left_to_others(name: str) -> None:
    assert Finder.find_spec(name, [str(PLUGINS)]) is None
