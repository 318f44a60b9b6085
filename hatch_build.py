# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put the collection into the wheel, so that the playbooks and the package that runs them never differ in version."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COLLECTION = "platform_recovery/_collections/ansible_collections/platform/recovery"
PARTS = ("galaxy.yml", "meta", "playbooks", "plugins", "roles")


class CollectionHook(BuildHookInterface):  # type: ignore[type-arg]  # generic only to hatch's own builders
    """Adds the collection to a real wheel; an editable install reads the checkout and must not hold a copy."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatch before it builds."""
        if version == "standard":
            build_data["force_include"].update({part: f"{COLLECTION}/{part}" for part in PARTS})
