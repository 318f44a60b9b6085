# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find or build the lab's Go programs. What is built is kept by the hash of what it was built from."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import tomllib

from . import cache, identity, toolchain
from .errors import LabError
from .state import clone_folder

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Program:
    """One program of programs.toml."""

    name: str
    about: str
    module: Path  # the folder of its go.mod
    package: str  # below the module, "./cmd/x", or a full import path
    packages: int  # how many packages a cold build compiles for it: the measure of its progress
    profiles: tuple[str, ...]
    flags: tuple[str, ...] = ()
    environment: Mapping[str, str] | None = None


def manifest(folder: Path | None = None) -> dict[str, Program]:
    """Read the list of programs, in the order of building."""
    folder = folder or clone_folder() / "lab/programs"
    content = tomllib.loads((folder / "programs.toml").read_text())
    common = content.get("build", {})
    return {
        row["name"]: Program(
            name=row["name"],
            about=row["about"],
            module=(folder / row["folder"]).resolve(),
            package=row["package"],
            packages=row["packages"],
            profiles=tuple(row["profiles"]),
            flags=tuple(common.get("flags", ())),
            environment=common.get("environment", {}),
        )
        for row in content["program"]
    }


def find(profile: str, say: Progress) -> dict[str, Path]:
    """Give the path of each program of a profile, building what is neither in RECOVERY_LAB_BIN nor in the cache."""
    wanted = [program for program in manifest().values() if profile in program.profiles]
    found = {one.name: path for one in wanted if (path := _chosen(one.name) or _cached(one))}
    missing = [program for program in wanted if program.name not in found]
    for number, program in enumerate(missing, 1):
        found[program.name] = build(program, f"building {program.name} ({number} of {len(missing)})", say)
    return found


def _chosen(name: str) -> Path | None:
    for folder in chosen_folders():
        path = folder / name
        if path.is_file():
            return path if identity.reachable(path) else _borrow(path)
    return None


def chosen_folders() -> list[Path]:
    """List the folders of RECOVERY_LAB_BIN. LabError if one of them is none."""
    chosen = os.environ.get("RECOVERY_LAB_BIN", "")
    folders = [Path(name).absolute() for name in chosen.split(":") if name]
    for folder in folders:
        if not folder.is_dir():
            raise LabError(
                f"RECOVERY_LAB_BIN={chosen}: {folder} is no folder. It takes folders of programs, separated by colons; "
                f"correct it, or unset it to let the lab build its own."
            )
    return folders


def _borrow(path: Path) -> Path:
    """Copy a program from where the lab's unprivileged user may not go, for example from below root's home."""
    stamp = path.stat()
    digest = hashlib.sha256(f"{path}:{stamp.st_size}:{stamp.st_mtime_ns}".encode()).hexdigest()[:12]

    def copy(target: Path) -> None:
        shutil.copyfile(path, target / path.name)
        (target / path.name).chmod(0o755)

    return cache.entry(f"borrowed/{path.name}-{digest}", copy) / path.name


def _cached(program: Program) -> Path | None:
    path = cache.folder() / entry_name(program) / program.name
    return path if path.is_file() else None


def entry_name(program: Program) -> str:
    """Name a program's place in the cache by everything that it is made of."""
    digest = hashlib.sha256("\0".join((program.package, *program.flags)).encode())
    for path in sources(program):
        digest.update(f"\0{path.relative_to(program.module)}\0".encode() + path.read_bytes())
    return f"programs/{program.name}-{digest.hexdigest()[:16]}"


def sources(program: Program) -> list[Path]:
    """List the files of the module that a program is made of: pins, its package, and what that imports of ours."""
    pins = [path for name in ("go.mod", "go.sum") if (path := program.module / name).exists()]
    module_path = next(iter(re.findall(r"^module (\S+)", pins[0].read_text(), re.MULTILINE)), "")
    found: dict[Path, None] = {}
    folders = [program.module / program.package] if program.package.startswith(".") else []
    while folders:
        folder = folders.pop().resolve()
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if not path.is_file() or path in found or path.name.endswith("_test.go"):
                continue
            found[path] = None
            if path.suffix == ".go":
                folders += [program.module / own for own in re.findall(rf'"{module_path}/([^"]+)"', path.read_text())]
    return pins + sorted(found)


def build(program: Program, label: str, say: Progress) -> Path:
    """Build one program into the cache, telling how many packages are done."""
    go = toolchain.find(toolchain.required((program.module / "go.mod").read_text()))
    return cache.entry(entry_name(program), lambda target: _compile(go, program, target, label, say)) / program.name


def _compile(go: Path, program: Program, target: Path, label: str, say: Progress) -> None:
    say(f"{label}: fetching its modules")
    words: list[str | Path] = [go, "build", "-v", *program.flags, "-o", target / program.name, program.package]
    environment = {**toolchain.environment(go), **(program.environment or {})}
    with subprocess.Popen(words, cwd=program.module, env=environment, stderr=subprocess.PIPE, text=True) as run:
        problems: list[str] = []
        done = 0
        for line in run.stderr or ():
            if is_package(line):
                done += 1
                say(f"{label}: {done} of {max(done, program.packages)} packages")
            elif line.startswith("go: downloading"):
                say(f"{label}: fetching {line.split()[2]}")
            else:
                problems.append(line)
    if run.returncode:
        raise LabError(f"{program.name} could not be built: {identity.last_lines(''.join(problems), 20)}")
    (target / program.name).chmod(0o755)


def is_package(line: str) -> bool:
    """Tell whether a line of `go build -v` names a package that was compiled; anything else is a complaint."""
    return bool(re.fullmatch(r"[\w.~/-]+", line.strip()))
