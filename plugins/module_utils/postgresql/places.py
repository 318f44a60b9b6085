# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a member lies for the provider that runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ResourcePlace:
    """The resource of a Kubernetes operator that a member is run by."""

    flavour: str
    cluster: str
    namespace: str
    name: str
    kubeconfig: str | None = None
    context: str | None = None


@dataclass(frozen=True)
class RdsPlace:
    """A member in Amazon RDS: an instance, or a cluster of an Aurora global database."""

    region: str
    instance: str | None = None
    cluster: str | None = None
    global_cluster: str | None = None
    failover: Literal["managed", "detach"] = "managed"
    quarantine_security_group: str | None = None

    @property
    def kind(self) -> str:
        """Say what it is, as the API's names have it."""
        return "Cluster" if self.cluster else "Instance"

    @property
    def name(self) -> str:
        """Give its identifier."""
        return str(self.cluster or self.instance)

    @property
    def words(self) -> str:
        """Name it."""
        return f"RDS {self.kind.lower()} {self.name} in {self.region}"
