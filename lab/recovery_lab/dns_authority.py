# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The name servers of the hosted zone, one a region, and the resolver of those who live in neither."""

from __future__ import annotations

from pathlib import Path

from . import addresses, dns_edge, identity, supervisor, topology
from .state import State, write
from .topology import Server, Topology
from .wait import NotYet

RESOLVER = "network/resolver"
RESOLVER_ADDRESS = ("127.0.0.53", 5353)
NAME = f"app.{addresses.GLOBAL_ZONE}"


def define(server: Server, state: State, program: Path) -> None:
    """Tell the supervisor how to run a name server: it follows the AWS API by the way that its region has there."""
    folder = identity.make_folder(state.server(server.region, server.kind))
    api = addresses.reach(server.region, topology.ONCE["full"]["aws_api"], "aws_api")
    words: list[str | Path] = [program, "-listen", f"{server.address}:{server.port}"]
    words += ["-feed", f"http://{api}:{addresses.PLACES['aws_api'][1]}", "-state", folder / "zones.json"]
    supervisor.define(f"{server.target}/lab-authority", supervisor.Definition(words, stop_seconds=2), state)


def corefile(layout: Topology) -> str:
    """Write the resolver's configuration: it asks by the operator's links, and keeps answers for their TTL."""
    authorities = [f"{server.link}:{server.port}" for server in layout.of_kind("dns_authority")]
    dynamic = [f"{server.link}:{server.port}" for server in layout.of_kind("dns_dynamic")]
    zones = {addresses.GLOBAL_ZONE: authorities, addresses.DYNAMIC_ZONE: dynamic}
    host, port = RESOLVER_ADDRESS
    lines = []
    for zone, servers in zones.items():
        if servers:
            cache = ["cache {", "success 9984 86400 0", "denial 9984 5 0", "servfail 0", "}"]
            body = [f"bind {host}", "errors", *cache, f"relay {' '.join(servers)}"]
            lines += [f"{zone}:{port} {{", *body, "}"]
    return "\n".join(lines) + "\n"


def define_resolver(layout: Topology, state: State, program: Path) -> None:
    """Tell the supervisor how to run the resolver. It belongs to the world outside: no fault of a region hits it."""
    path = write(state.root / "resolver" / "Corefile", corefile(layout))
    identity.own(path.parent)
    words: list[str | Path] = [program, "-conf", path, "-quiet"]
    supervisor.define(RESOLVER, supervisor.Definition(words, stop_seconds=2), state)


def answers(place: tuple[str, int]) -> None:
    """Probe: a name server or a resolver gives an address for the platform's global name."""
    if not dns_edge.query(place, NAME):
        raise NotYet(f"{place[0]} knows no address of {NAME}")


def connect(server: Server) -> dict[str, str]:
    """Say what a client needs. The links carry TCP only."""
    resolver = "{}:{}".format(*RESOLVER_ADDRESS)
    direct = f"dns://{server.address}:{server.port}"
    return {"url": f"dns+tcp://{server.link}:{server.port}", "direct_url": direct, "resolver": f"dns://{resolver}"}
