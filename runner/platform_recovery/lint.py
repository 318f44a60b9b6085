# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`recovery lint`: would a recovery need something that is gone with the region? No server is asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._collection import collections_path, module
from .errors import WrongCall

OWN = ("playbooks", "roles")


@dataclass(frozen=True)
class Linted:
    """What was found, and where was looked."""

    findings: list[Any]
    lost: list[str]
    files: int
    description: str | None

    def document(self) -> dict[str, Any]:
        """Give it as JSON has it."""
        made: dict[str, Any] = module("lint.words").document(self.findings, self.lost, self.files, self.description)
        return made

    def lines(self) -> list[str]:
        """Give it for the operator."""
        made: list[str] = module("lint.words").text(self.findings, self.lost, self.files, self.description)
        return made


def lint(paths: Sequence[str], inventories: Sequence[str], lost: Sequence[str]) -> Linted:
    """Read the collection's own checklists and roles (or the paths given) and the description. Raises WrongCall."""
    variables = read_inventory(inventories) if inventories else {}
    bad_input = module("errors").BadInput
    places, description, tasks = module("lint.places"), module("lint.description"), module("lint.tasks")
    found: list[Any] = []
    try:
        platform = validated(variables) if inventories else {}
        regions = chosen(lost, platform)
        atlas = places.atlas_of(platform) if platform else places.Atlas(tuple(regions))
        files = tasks.files_of([Path(path) for path in paths] if paths else own_folders())
        shown = {file: shortened(file) for file in files}
        for region in regions:
            if platform:
                named = ", ".join(inventories)
                found += description.findings(platform, region, named, atlas)
                found += description.of_variables(variables, os.environ, region, named, atlas)
            for file in files:
                found += tasks.findings(file, shown[file], atlas, region)
    except bad_input as error:
        raise WrongCall(str(error), next_action=error.next_action) from None
    return Linted(found, regions, len(files), ", ".join(inventories) or None)


def own_folders() -> list[Path]:
    """Give the folders of the collection's own checklists and roles."""
    root = collections_path() / "ansible_collections/platform/recovery"
    return [(root / name).resolve() for name in OWN]


def shortened(file: Path) -> str:
    """Name a file as it is seen from here, where it lies below."""
    path = file.resolve()
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def chosen(lost: Sequence[str], platform: Mapping[str, Any]) -> list[str]:
    """Say which regions may be lost: those named, else every one that is primary on a good day."""
    if not lost and not platform:
        raise WrongCall(
            "Without an inventory nobody knows which region may be lost",
            next_action="name it with --lost REGION, or the platform with --inventory PATH",
        )
    regions = platform.get("regions") or {}
    for name in lost:
        if platform and name not in regions:
            near = module("schema").closest(name, regions)
            raise WrongCall(
                f"--lost {name}: the platform has no such region",
                next_action=f"use {near!r}" if near else f"name one of {', '.join(regions)}",
            )
    return list(lost) or [name for name, region in regions.items() if region["role"] == "primary"]


def validated(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Give the platform description with every default filled in. Raises BadInput."""
    schema = module("schema")
    if not isinstance(variables.get("recovery_platform"), Mapping):
        raise WrongCall(
            "The inventory describes no platform",
            next_action="set recovery_platform for localhost or for all: docs/reference/platform_description.md",
        )
    options = options_of("platform_description")["platform"]
    checker = schema.Validator(maps=module("platform").MAPS)
    made, problems = checker.check({"platform": options}, {"platform": variables["recovery_platform"]})
    # A template that needs what is not here, such as a file, is left as it is: only its type may be wrong for that.
    real = [problem for problem in problems if "{{" not in str(problem.value)]
    schema.refuse(real, "The platform description", "correct the keys named here and run again")
    platform: dict[str, Any] = made["platform"]
    return platform


def options_of(name: str) -> dict[str, Any]:
    """Read the options of one of the collection's modules: its documentation is the schema."""
    import importlib

    import yaml

    module("schema")  # makes the collection importable
    documented = importlib.import_module(f"ansible_collections.platform.recovery.plugins.modules.{name}")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    options: dict[str, Any] = yaml.load(documented.DOCUMENTATION, Loader=loader)["options"]
    return options


def read_inventory(paths: Sequence[str]) -> dict[str, Any]:
    """Read the variables of an inventory as Ansible does. Raises WrongCall.

    In a process of its own: Ansible changes how a process imports, and whoever embeds this package may not want that.
    """
    for path in paths:
        if not Path(path).exists():
            raise WrongCall(f"There is no inventory {path}", next_action="name one that exists")
    program = Path(__file__).with_name("_inventory.py")
    argv = [sys.executable, "-P", str(program), str(collections_path()), *(str(Path(path).resolve()) for path in paths)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        answer = {"error": (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]}
    if "error" in answer:
        raise WrongCall(
            f"The inventory cannot be read: {answer['error']}",
            next_action="correct it; for a vault set ANSIBLE_VAULT_PASSWORD_FILE",
        )
    variables: dict[str, Any] = answer["variables"]
    return variables
