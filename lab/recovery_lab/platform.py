# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's platform as the collection wants it described: what `up` leaves for the inventory to read."""

from __future__ import annotations

from typing import Any

import yaml

from . import addresses, postgresql, ssh, topology
from .state import State, write
from .topology import Topology


def describe(state: State, layout: Topology) -> dict[str, Any]:
    """Give the description and the credentials. Who is primary now is not in it: that is observed."""
    clusters = [server.region for server in layout.of_kind("kubernetes")]
    edges = [server.region for server in layout.of_kind("edge")]
    roles = {topology.PRIMARY: "primary", topology.STANDBY: "secondary"}
    description: dict[str, Any] = {
        "name": "lab",
        "regions": {region: {"role": roles[region]} for region in layout.regions},
        "databases": {postgresql.DATABASE: _database(state, layout)},
        "clusters": {name: {"region": name, "kubeconfig": str(state.kubeconfig(name))} for name in clusters},
        "services": {
            name: {
                "database": postgresql.DATABASE,
                "clusters": clusters,
                "depends_on": list(service.depends_on),
                "tables": [service.table],
            }
            for name, service in layout.services.items()
        },
        "edges": {name: {"region": name, "url": edge_url(name)} for name in edges},
    }
    if edges:
        description["canary"] = {"edge": topology.PRIMARY, "service": "user-service", "table": "users"}
    superuser = {"user": postgresql.SUPERUSER, "password": state.secret(postgresql.SUPERUSER)}
    return {"recovery_platform": description, "recovery_credentials": {"postgresql_admin": superuser}}


def edge_url(region: str) -> str:
    """Give the address at which the operator's place reaches a region's edge."""
    address = addresses.link_address(addresses.OPERATOR, region, "edge")
    return f"http://{address}:{addresses.PLACES['edge'][1]}"


def _database(state: State, layout: Topology) -> dict[str, Any]:
    return {
        "credentials": "postgresql_admin",
        "objectives": {"rto_seconds": 1800, "rpo_seconds": 3600},
        "database": postgresql.DATABASE,
        "tables": [service.table for service in topology.SERVICES.values()],
        "members": {server.region: _member(state, server.region) for server in layout.of_kind("postgresql")},
    }


def _member(state: State, region: str) -> dict[str, Any]:
    address = addresses.link_address(addresses.OPERATOR, region, "postgresql")
    return {
        "host": addresses.host_name(region, "postgresql"),
        "address": address,
        "port": addresses.PLACES["postgresql"][1],
        "sslmode": "verify-full",
        "sslrootcert": str(state.ca),
        "fence": {
            "method": "systemd",
            "host": address,
            "port": addresses.SSH_PORT,
            "user": ssh.USER,
            "identity_file": str(state.root / "ssh" / ssh.USER),
            "known_hosts_file": str(state.root / "ssh" / "known_hosts"),
            "unit": "postgresql",
            "sudo": False,
        },
    }


def leave(state: State, layout: Topology) -> None:
    """Write the description where the inventory finds it; only the operator may read it."""
    write(state.platform_file, yaml.safe_dump(describe(state, layout), sort_keys=False), mode=0o600)


def leave_identity(state: State, member: postgresql.Member) -> None:
    """Write down which database this is, as initdb made it, for the operator's description of it."""
    [[identifier]] = member.execute("postgres", "select system_identifier::text from pg_control_system()")
    write(state.root / "system_identifier", f"{identifier}\n", mode=0o644)
