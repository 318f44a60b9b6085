# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The address plan: one loopback address a server, one proxied address a link. Pure functions, no state.

Within a region servers meet directly at 127.<region>.0.x. Whoever comes from elsewhere uses a link of its own, so that
a partition can be total, one-way or seen by one origin only, while the victim lives on inside.
"""

from __future__ import annotations

from dataclasses import dataclass

REGION_INDEX = {"us-west-2": 1, "us-east-1": 2, "eu-west-1": 3}
ZONE = "lab.internal"
# The zone of the names that clients use, wherever they are.
GLOBAL_ZONE = "lab.example"
# Another such zone, on a server that takes RFC 2136.
DYNAMIC_ZONE = "dynamic.example"
NAMESPACE = "production"
OPERATOR = "operator"
PROXY_API = ("127.0.0.20", 8474)

# kind of server -> (last byte of its address, port)
PLACES = {
    "kubernetes": (2, 6443),
    "postgresql": (30, 5432),
    "aws_api": (52, 5000),
    "dns": (53, 5353),
    "dns_authority": (54, 5353),
    "dns_dynamic": (56, 5353),
    "redis": (60, 6379),
    "sentinel": (61, 26379),
    "kafka": (62, 9092),
    "mirror_maker": (63, 8083),
    "object_storage": (64, 9000),
    "edge": (80, 8080),
}
# A broker tells each client where to go: whoever comes from elsewhere has a port of his own there.
KAFKA_PORT = 9094
# Who is reached over a region's border: by the operator, and some of them by the other regions as well.
STORES = ("kafka", "object_storage", "postgresql", "redis", "sentinel")
LINKED = ("aws_api", "dns_authority", "dns_dynamic", "edge", "kubernetes", *STORES)
LINKED_TO_REGIONS = ("aws_api", "edge", *STORES)
SSH_PORT = 2222
# Where a drill of the recovery has its servers and its edge, beside the real ones.
DRILL_PORTS = {"postgresql": (5433, 5434), "edge": (8081,)}
DRILL_NAMESPACE = "recovery-drill"
ETCD_BYTE, NODE_BYTE = 3, 4
ETCD_PORT, ETCD_PEER_PORT = 2379, 2380
EDGE_ADMIN_PORT = 2019


@dataclass(frozen=True)
class Link:
    """A way over a region's border: whoever is at `origin` reaches `target` at `listen`."""

    origin: str  # "operator", a region, or a region's database host as "region/postgresql"
    target: str  # "region/kind"
    listen: str  # address:port of the proxy
    upstream: str  # address:port of the server itself

    @property
    def name(self) -> str:
        """Name the link the way the proxy stores it: no slash, it becomes part of a URL."""
        port = self.upstream.rpartition(":")[2]
        return f"{self.origin}-to-{self.target}-{port}".replace("/", ".")

    def crosses(self, victim: str) -> bool:
        """Tell whether this link crosses the border of a region or of a server ("region/kind")."""
        return inside(self.target, victim) != inside(self.origin, victim)

    def leaves(self, victim: str) -> bool:
        """Tell whether this link leads out of the victim."""
        return self.crosses(victim) and inside(self.origin, victim)


def inside(place: str, victim: str) -> bool:
    """Tell whether a place is the victim or lies within it."""
    return place == victim or place.startswith(victim + "/")


def region_index(region: str) -> int:
    """Give the number that stands for a region in every address of it."""
    return REGION_INDEX[region]


def server_address(region: str, kind: str) -> str:
    """Give the address at which a server itself listens."""
    return f"127.{region_index(region)}.0.{PLACES[kind][0]}"


def endpoint(region: str, kind: str) -> str:
    """Give address:port of a server itself."""
    return f"{server_address(region, kind)}:{PLACES[kind][1]}"


def origin_index(origin: str) -> int:
    """Give an origin's number: operator 0, region R is R, the database host of region R is 3+R."""
    if origin == OPERATOR:
        return 0
    region, _, server = origin.partition("/")
    return region_index(region) + (3 if server else 0)


def link_address(origin: str, region: str, kind: str) -> str:
    """Give the address at which an origin reaches a server of another region (the operator: of any region)."""
    return f"127.{100 + 10 * origin_index(origin) + region_index(region)}.0.{PLACES[kind][0]}"


def reach(origin: str, region: str, kind: str) -> str:
    """Give the address at which an origin reaches a server: directly in its own region, by a link otherwise."""
    if origin.partition("/")[0] == region:
        return server_address(region, kind)
    return link_address(origin, region, kind)


def kafka_port(origin: str) -> int:
    """Give the port at which an origin reaches a broker of another region (the operator: of any region)."""
    return KAFKA_PORT + origin_index(origin)


def host_name(region: str, kind: str) -> str:
    """Give the name that every region's DNS resolves to the address by which that region reaches the server."""
    # No underscore may stand in the name of a host, nor in a certificate.
    return f"{kind.replace('_', '-')}.{region}.{ZONE}"


def links(regions: list[str], kinds: set[str]) -> list[Link]:
    """List every link between the given regions, for the kinds of servers that exist."""
    found = []
    for region in regions:
        others = [other for other in regions if other != region]
        for kind in sorted(kinds & {*LINKED}):
            origins = [OPERATOR]
            if kind in LINKED_TO_REGIONS:
                origins += others
            if kind == "postgresql":
                origins += [f"{other}/postgresql" for other in others]
            found += [
                _link(origin, region, kind, kafka_port(origin) if kind == "kafka" else PLACES[kind][1])
                for origin in origins
            ]
            found += [_link(OPERATOR, region, kind, port) for port in DRILL_PORTS.get(kind, ())]
        if "postgresql" in kinds:
            found.append(_link(OPERATOR, region, "postgresql", SSH_PORT))
    return found


def _link(origin: str, region: str, kind: str, port: int) -> Link:
    return Link(
        origin=origin,
        target=f"{region}/{kind}",
        listen=f"{link_address(origin, region, kind)}:{port}",
        upstream=f"{server_address(region, kind)}:{port}",
    )
