# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print the recovery variables of an inventory as JSON: a program, called with a collections path and inventories.

Of the platform description each value is filled in that can be. All others are given as they are written: what a
lookup of a secret finds is nobody's business here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar
from ansible.vars.manager import VariableManager

HOST, PLATFORM = "localhost", "recovery_platform"


def main(collections: str, *inventories: str) -> dict[str, Any]:
    """Read them."""
    init_plugin_loader([collections])
    loader = DataLoader()
    learn_vaults(loader)
    inventory = InventoryManager(loader=loader, sources=list(inventories))
    variables = VariableManager(loader=loader, inventory=inventory).get_vars(host=inventory.get_host(HOST))
    named = {name: value for name, value in variables.items() if name.startswith("recovery_")}
    templar = Templar(loader=loader, variables=variables)
    return {**named, PLATFORM: filled(named.get(PLATFORM), templar)}


def learn_vaults(loader: Any) -> None:
    """Let whole files be read that are encrypted, where Ansible is configured to know how. Asks nobody."""
    from ansible import constants
    from ansible.cli import CLI

    files = [constants.DEFAULT_VAULT_PASSWORD_FILE] if constants.DEFAULT_VAULT_PASSWORD_FILE else []
    identities = list(constants.DEFAULT_VAULT_IDENTITY_LIST)
    if files or identities:
        loader.set_vault_secrets(
            CLI.setup_vault_secrets(loader, vault_ids=identities, vault_password_files=files, auto_prompt=False)
        )


def filled(value: Any, templar: Any) -> Any:
    """Fill in every template that can be filled in; one that needs a running platform stays as it is written."""
    if isinstance(value, Mapping):
        return {str(key): filled(entry, templar) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [filled(entry, templar) for entry in value]
    if isinstance(value, str) and "{{" in value:
        try:
            return templar.template(value)
        except AnsibleError:
            return value
    return value


def plain(value: Any) -> Any:
    """Give a value without what Ansible hangs on it. What is encrypted in place is left out."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, str):
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float)) else None


if __name__ == "__main__":
    try:
        found = {"variables": plain(main(*sys.argv[1:]))}
    except AnsibleError as error:
        found = {"error": str(error).splitlines()[0]}
    print(json.dumps(found))
