# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the service is told by its environment."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

PREFIX = "RECOVERY_SERVICE_"
SHORTEST_TOKEN = 16


class WrongSettings(ValueError):
    """The environment does not say what it has to."""


@dataclass(frozen=True)
class Settings:
    """Where the runs are and what may be run: callers choose among it, and name no path."""

    token: str = field(repr=False)
    inventory: Path
    playbooks: Mapping[str, str]
    folder: Path
    host: str = "127.0.0.1"
    port: int = 8080

    @classmethod
    def take(cls, environment: MutableMapping[str, str]) -> Settings:
        """Read them, and take the token away, for what is started inherits the environment. Raises WrongSettings."""
        token = environment.pop(PREFIX + "TOKEN", "")
        if len(token) < SHORTEST_TOKEN:
            raise WrongSettings(f"{PREFIX}TOKEN wants a secret of {SHORTEST_TOKEN} characters or more")
        inventory = Path(environment.get(PREFIX + "INVENTORY", "")).absolute()
        if not environment.get(PREFIX + "INVENTORY") or not inventory.exists():
            raise WrongSettings(f"{PREFIX}INVENTORY wants the path of an inventory that exists")
        offered = [text.strip() for text in environment.get(PREFIX + "PLAYBOOKS", "").split(",") if text.strip()]
        if not offered:
            raise WrongSettings(f"{PREFIX}PLAYBOOKS wants the checklists that may be run, such as database-failover")
        host, _, port = environment.get(PREFIX + "LISTEN", "127.0.0.1:8080").rpartition(":")
        if not host or not port.isdigit():
            raise WrongSettings(f"{PREFIX}LISTEN wants HOST:PORT, such as 127.0.0.1:8080")
        folder = Path(environment.get(PREFIX + "FOLDER") or ".").absolute()
        return cls(token, inventory, {_name(text): text for text in offered}, folder, host, int(port))


def _name(playbook: str) -> str:
    """Give the name by which callers know a playbook: the dashed name, also of a file of one's own."""
    if playbook.endswith((".yml", ".yaml")):
        return Path(playbook).stem.replace("_", "-")
    return playbook
