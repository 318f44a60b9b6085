# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The SSH entrance of a region's host: the channel by which an operator stops a server for good."""

from __future__ import annotations

import json
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from . import addresses, identity, supervisor
from .postgresql_programs import PostgresqlPrograms
from .state import State, read_json, write

USER = "operator"


def provide_keys(state: State, regions: list[str]) -> None:
    """Make the operator's key, each host's key, and the list of known hosts."""
    folder = state.root / "ssh"
    if (folder / "known_hosts").exists():
        return
    public = {name: make_key(folder / name) for name in (USER, *(f"host-{region}" for region in regions))}
    write(folder / "authorized_keys", f"{public[USER]} {USER}\n")
    known = []
    for region in regions:
        address = addresses.link_address(addresses.OPERATOR, region, "postgresql")
        known.append(f"[{address}]:{addresses.SSH_PORT} {public[f'host-{region}']}\n")
    for region in regions:
        identity.own(folder / f"host-{region}")
    # Last, because it says that all others are there.
    write(folder / "known_hosts", "".join(known))


def make_key(path: Path) -> str:
    """Make a key pair; the private one goes into a file. Gives the public one."""
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    write(path, private, mode=0o600)
    openssh = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return key.public_key().public_bytes(*openssh).decode()


def provide_environment(state: State, programs: PostgresqlPrograms) -> None:
    """Remember what scripts on a host find: PostgreSQL's programs on their path, as on a real one."""
    environment = identity.clean_environment(state.root, programs.environment)
    write(state.root / "ssh" / "environment.json", json.dumps(environment))


def open_host(state: State, region: str) -> None:
    """Open the entrance of a region's host; a unit of a server that this profile does not have is not found there."""
    folder = state.root / "ssh"
    address = addresses.server_address(region, "postgresql")
    body = {
        "listen": f"{address}:{addresses.SSH_PORT}",
        "host_key_file": str(folder / f"host-{region}"),
        "authorized_keys_file": str(folder / "authorized_keys"),
        "units": {
            "postgresql": f"{region}/postgresql/postgres",
            "recovery-pg-guard": f"{region}/postgresql/guard",
            "redis-server": f"{region}/redis/redis",
            "recovery-redis-guard": f"{region}/redis/guard",
            "redis-sentinel": f"{region}/sentinel/sentinel",
            "kafka": f"{region}/kafka/kafka",
            "kafka-mirror-maker": f"{region}/mirror_maker/mirror-maker",
        },
        "environment": read_json(folder / "environment.json"),
    }
    supervisor.define_host(f"{region}/postgresql", body)
