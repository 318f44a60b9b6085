# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands where in each profile. Nothing here starts anything."""

from __future__ import annotations

from dataclasses import dataclass, field

from . import addresses
from .errors import LabError, nearest

PROFILES = ("small", "full", "scale")
POSTGRESQL_VERSIONS = ("15", "18")
PRIMARY, STANDBY = "us-west-2", "us-east-1"


@dataclass(frozen=True)
class Service:
    """One service of the application: the table it keeps and the service it cannot work without."""

    table: str
    depends_on: tuple[str, ...] = ()


SERVICES = {
    "user-service": Service("users"),
    "tenant-service": Service("tenants"),
    "plugin-service": Service("plugins", ("tenant-service",)),
    "ai-service": Service("ai_requests"),
}

# Which processes make up a server, in the order in which they start. The first one stands for the server.
INSTANCES = {
    "postgresql": ("postgres", "guard"),
    "kubernetes": ("apiserver", "etcd", "controller-manager", "scheduler", "node-agent"),
    "dns": ("coredns",),
    "edge": ("caddy",),
    "aws_api": ("moto",),
    "dns_authority": ("lab-authority",),
    "dns_dynamic": ("knot",),
    "redis": ("redis", "guard"),
    "sentinel": ("sentinel",),
    "kafka": ("kafka",),
    "mirror_maker": ("mirror-maker",),
    "object_storage": ("minio", "guard"),
}

# The kinds that both regions have, by profile, and those of which there is one, with its region.
EVERYWHERE = {
    "small": ("postgresql", "kubernetes", "dns", "edge"),
    "full": (
        "postgresql",
        "kubernetes",
        "dns",
        "edge",
        "dns_authority",
        "redis",
        "sentinel",
        "kafka",
        "mirror_maker",
        "object_storage",
    ),
}
# The control plane of Route 53 lies in us-east-1, as it does in the world.
ONCE = {
    "full": {"aws_api": STANDBY, "dns_dynamic": STANDBY},
}


@dataclass(frozen=True)
class Server:
    """One server of a region, as `status` prints it."""

    region: str
    kind: str

    @property
    def target(self) -> str:
        """Name the server for the command line."""
        return f"{self.region}/{self.kind}"

    @property
    def address(self) -> str:
        """Give the address it listens on."""
        return addresses.server_address(self.region, self.kind)

    @property
    def link(self) -> str:
        """Give the address by which the operator's place reaches it."""
        return addresses.reach(addresses.OPERATOR, self.region, self.kind)

    @property
    def port(self) -> int:
        """Give the port it listens on."""
        return addresses.PLACES[self.kind][1]

    @property
    def processes(self) -> list[str]:
        """List the ids of its processes; the supervisor knows which of them exist."""
        return [f"{self.target}/{instance}" for instance in INSTANCES[self.kind]]


@dataclass(frozen=True)
class Topology:
    """The servers of one profile."""

    profile: str
    servers: list[Server]
    services: dict[str, Service] = field(default_factory=dict)
    node: str = "agent"  # what plays the nodes: "agent" runs pods as processes, "kwok" only says that they run

    @property
    def regions(self) -> list[str]:
        """List the regions that hold a server."""
        return list(dict.fromkeys(server.region for server in self.servers))

    @property
    def links(self) -> list[addresses.Link]:
        """List the links between the servers that exist."""
        existing = {server.target for server in self.servers}
        kinds = {server.kind for server in self.servers}
        return [link for link in addresses.links(self.regions, kinds) if link.target in existing]

    def of_kind(self, kind: str) -> list[Server]:
        """List the servers of a kind."""
        return [server for server in self.servers if server.kind == kind]


def build(profile: str) -> Topology:
    """Give the topology of a profile. Raises LabError for one that does not exist."""
    if profile in EVERYWHERE:
        servers = [Server(region, kind) for region in (PRIMARY, STANDBY) for kind in EVERYWHERE[profile]]
        servers += [Server(region, kind) for kind, region in ONCE.get(profile, {}).items()]
        return Topology(profile, servers, services=SERVICES)
    if profile == "scale":
        servers = [Server(PRIMARY, "postgresql"), Server(PRIMARY, "kubernetes"), Server(STANDBY, "postgresql")]
        return Topology(profile, servers, node="kwok")
    raise LabError(f"There is no profile {profile!r}{nearest(profile, PROFILES)} Known: {', '.join(PROFILES)}.")
