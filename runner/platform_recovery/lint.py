# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`recovery lint`: would a recovery need something that is gone with the region? No server is asked."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._collection import collections_path, module
from .errors import WrongCall

HOST = "localhost"
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
    # Ansible's own way to find plugins has to be there before the first collection is imported.
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
    made, problems = checker.check({"platform": options}, {"platform": plain(variables["recovery_platform"])})
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
    """Read the variables of an inventory as Ansible does. Of the description each value is filled in that can be.

    Accounts are left as they are written: what they hold is nobody's business here. Raises WrongCall.
    """
    from ansible.errors import AnsibleError
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader
    from ansible.plugins.loader import init_plugin_loader
    from ansible.template import Templar
    from ansible.utils.collection_loader import AnsibleCollectionConfig
    from ansible.vars.manager import VariableManager

    for path in paths:
        if not Path(path).exists():
            raise WrongCall(f"There is no inventory {path}", next_action="name one that exists")
    if AnsibleCollectionConfig.collection_finder is None:
        init_plugin_loader([str(collections_path())])
    try:
        loader = DataLoader()
        secrets_of_vaults(loader)
        inventory = InventoryManager(loader=loader, sources=[str(Path(path).resolve()) for path in paths])
        host = inventory.get_host(HOST)
        variables = VariableManager(loader=loader, inventory=inventory).get_vars(host=host)
    except AnsibleError as error:
        reason = str(error).splitlines()[0]
        raise WrongCall(
            f"The inventory cannot be read: {reason}",
            next_action="correct it; for a vault set ANSIBLE_VAULT_PASSWORD_FILE",
        ) from None
    templar = Templar(loader=loader, variables=variables)
    named = {name: value for name, value in variables.items() if name.startswith("recovery_")}
    return {**named, "recovery_platform": filled(named.get("recovery_platform"), templar, AnsibleError)}


def secrets_of_vaults(loader: Any) -> None:
    """Let whole files be read that are encrypted, where Ansible is configured to know how. Asks nobody."""
    from ansible import constants
    from ansible.cli import CLI

    files = [constants.DEFAULT_VAULT_PASSWORD_FILE] if constants.DEFAULT_VAULT_PASSWORD_FILE else []
    identities = list(constants.DEFAULT_VAULT_IDENTITY_LIST)
    if files or identities:
        loader.set_vault_secrets(
            CLI.setup_vault_secrets(loader, vault_ids=identities, vault_password_files=files, auto_prompt=False)
        )


def filled(value: Any, templar: Any, error: type[Exception]) -> Any:
    """Fill in every template that can be filled in; one that needs a running platform stays as it is written."""
    if isinstance(value, Mapping):
        return {str(key): filled(entry, templar, error) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [filled(entry, templar, error) for entry in value]
    if isinstance(value, str) and "{{" in value:
        try:
            return plain(templar.template(value))
        except error:
            return str(value)
    return value


def plain(value: Any) -> Any:
    """Give a value without what Ansible hangs on it."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return str(value) if isinstance(value, str) else value
