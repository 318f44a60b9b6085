# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wheel holds the collection whose checklists it runs, and needs no checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SOURCES = (
    "galaxy.yml",
    "hatch_build.py",
    "meta",
    "playbooks",
    "plugins",
    "pyproject.toml",
    "README.md",
    "roles",
    "runner",
)
INSIDE = Path("platform_recovery/_collections/ansible_collections/platform/recovery")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy, and unpack it as an installation does."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name)
        else:
            shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (wheel,) = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def test_the_wheel_holds_the_whole_collection_and_nothing_that_was_compiled(installed: Path) -> None:
    def files(root: Path) -> set[str]:
        return {
            str(path.relative_to(root))
            for path in root.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }

    for part in ("playbooks", "plugins", "roles", "meta"):
        assert files(installed / INSIDE / part) == files(ROOT / part), part
    assert (installed / INSIDE / "galaxy.yml").is_file()
    assert list(installed.rglob("*.pyc")) == []


def test_an_installed_package_finds_its_own_checklists(installed: Path, tmp_path: Path) -> None:
    code = (
        "import platform_recovery as pr; from platform_recovery import _collection, call; from pathlib import Path;"
        "print(pr.__file__, _collection.collections_path(), _collection.module('journal').__file__, sep='\\n');"
        "print(call.resolve('database-failover', Path())[1], pr.run)"
    )
    environment = {"PYTHONPATH": str(installed), "PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    *places, found = done.stdout.splitlines()
    assert all(place.startswith(str(installed)) for place in places), places
    assert found.startswith("platform.recovery.database_failover ")
