# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A name server that takes updates by RFC 2136 with a TSIG key: Knot, from Debian's packages."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from . import addresses, cache, debian, dns_edge, identity, supervisor, topology
from .programs import chosen_folders
from .state import State, write
from .topology import Server, Topology
from .wait import NotYet

KEY_NAME, ALGORITHM = "operator", "hmac-sha256"
NAME = f"app.{addresses.DYNAMIC_ZONE}"
TTL_SECONDS = 5


def fetch() -> dict[str, Path]:
    """Give its program: a chosen one, the machine's own, or one from Debian's package."""
    for path in [folder / "knotd" for folder in chosen_folders()] + [Path("/usr/sbin/knotd")]:
        if path.exists() and identity.reachable(path):
            return {"knotd": path}
    root = cache.entry("debian/knot", _unpack)
    return {"knotd": root / "usr/sbin/knotd"}


def _unpack(target: Path) -> None:
    debian.unpack("knot", target)
    debian.add_libraries([target / "usr/sbin/knotd"], target)


def secret(state: State) -> str:
    """Give the TSIG key, as RFC 8945 wants it."""
    return base64.b64encode(hashlib.sha256(state.secret("tsig").encode()).digest()).decode()


def zone_file(layout: Topology, server: Server) -> str:
    """Write the zone as it is on the first day: its name leads to the primary region."""
    edge = Server(topology.PRIMARY, "edge").link
    own = f"ns.{addresses.DYNAMIC_ZONE}."
    rows = [
        f"{addresses.DYNAMIC_ZONE}. 3600 SOA {own} hostmaster.{addresses.DYNAMIC_ZONE}. 1 3600 600 86400 {TTL_SECONDS}",
        f"{addresses.DYNAMIC_ZONE}. 3600 NS {own}",
        f"{own} 3600 A {server.link}",
        f"{NAME}. {TTL_SECONDS} A {edge}",
        *(f"{name}.{addresses.DYNAMIC_ZONE}. {TTL_SECONDS} A {edge}" for name in layout.services),
    ]
    return "\n".join(rows) + "\n"


def configuration(server: Server, state: State, folder: Path, data: Path) -> str:
    """Write its configuration: one zone, which the holder of the key may change."""
    return f"""\
server:
    rundir: {folder}
    listen: {server.address}@{server.port}
    udp-workers: 1
    tcp-workers: 2
    background-workers: 1
database:
    storage: {data}/db
    journal-db-max-size: 64M
    kasp-db-max-size: 10M
    timer-db-max-size: 10M
log:
  - target: stderr
    any: warning
key:
  - id: {KEY_NAME}
    algorithm: {ALGORITHM}
    secret: {secret(state)}
acl:
  - id: operator
    key: {KEY_NAME}
    action: [update, transfer]
zone:
  - domain: {addresses.DYNAMIC_ZONE}
    storage: {data}
    file: zone
    acl: operator
"""


def define(server: Server, layout: Topology, state: State, program: Path) -> None:
    """Configure it and tell the supervisor how to run it. Its zone is data: what was changed stays."""
    data = identity.make_folder(state.data(server.region, server.kind), mode=0o700)
    identity.make_folder(data / "db", mode=0o700)
    if not (data / "zone").exists():
        write(data / "zone", zone_file(layout, server))
    identity.own(data.parent)
    folder = state.server(server.region, server.kind)
    path = write(folder / "knot.conf", configuration(server, state, folder, data), mode=0o600)
    # Nothing runs here, whatever process has that number by now.
    (folder / "knot.pid").unlink(missing_ok=True)
    # The operator's tools take the key from a file.
    write(state.secrets / "tsig.key", secret(state), mode=0o600)
    identity.own(folder)
    root = program.parents[2]
    libraries = ":".join(str(root / name) for name in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"))
    environment = {"LD_LIBRARY_PATH": libraries} if root != Path("/") else {}
    words: list[str | Path] = [program, "-c", path]
    supervisor.define(f"{server.target}/knot", supervisor.Definition(words, environment, stop_seconds=3), state)


def answers(server: Server) -> None:
    """Probe: it answers from its zone."""
    if not dns_edge.query((server.address, server.port), NAME):
        raise NotYet(f"{server.target} knows no address of {NAME}")


def connect(server: Server, state: State) -> dict[str, str]:
    """Say what a client needs."""
    return {
        "url": f"dns+tcp://{server.link}:{server.port}",
        "direct_url": f"dns://{server.address}:{server.port}",
        "zone": addresses.DYNAMIC_ZONE,
        "key_name": KEY_NAME,
        "key_algorithm": ALGORITHM,
        "key": secret(state),
    }
