# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many real databases beside the lab's own: pairs of PostgreSQL servers, each with a host that is entered by SSH.

The lab's supervisor runs them, as it runs the lab's: it is their service manager too.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.postgresql.client import ServerError
from recovery_lab import addresses, identity, postgresql_programs, supervisor
from recovery_lab.addresses import SSH_PORT
from recovery_lab.errors import LabError
from recovery_lab.state import State
from tests.integration.postgresql.conftest import copy_tree
from tests.integration.postgresql.servers import PASSWORD, Server, environment, private_folder, streaming, wait_for
from tests.support.platform import EAST, ROOT, WEST, written_inventory

KEYS = ROOT / ".lab/ssh"
SIDES = {WEST: 1, EAST: 2}
TABLE = "CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text UNIQUE, value text)"


@dataclass(frozen=True)
class Host:
    """One server under the supervisor, and the SSH entrance of its host."""

    server: Server
    region: str

    @property
    def target(self) -> str:
        """Name it for the supervisor."""
        return f"{self.region}/{self.server.name}"

    def define(self) -> None:
        """Tell the supervisor how to run it, and open its host."""
        process = f"{self.target}/postgres"
        argv = [self.server.programs.path("postgres"), "-D", self.server.data]
        programs = environment(self.server.programs)
        definition = supervisor.Definition(argv, programs, stop_signal="INT", stop_seconds=10)
        supervisor.define(process, definition, State(self.server.folder))
        entrance = {
            "listen": f"{self.server.address}:{SSH_PORT}",
            "host_key_file": str(KEYS.resolve() / f"host-{self.region}"),
            "authorized_keys_file": str(KEYS.resolve() / "authorized_keys"),
            "units": {"postgresql": process},
            "environment": programs,
        }
        supervisor.define_host(self.target, entrance)

    def act(self, verb: str) -> None:
        """Start, stop or kill it."""
        supervisor.act(f"{self.target}/postgres", verb)

    def description(self, known_hosts: Path) -> dict[str, Any]:
        """Describe it as a member of a database."""
        fence = {
            "host": self.server.address,
            "port": SSH_PORT,
            "user": "operator",
            "identity_file": str(KEYS / "operator"),
            "known_hosts_file": str(known_hosts),
            "unit": "postgresql",
            "sudo": False,
        }
        return {"host": self.server.address, "address": self.server.address, "sslmode": "disable", "fence": fence}


@dataclass(frozen=True)
class Database:
    """A primary in the west and its standby in the east."""

    name: str
    west: Host
    east: Host

    def is_primary(self, host: Host) -> bool:
        """Ask a server itself."""
        return host.server.sql("SELECT pg_is_in_recovery()") is False


@contextmanager
def databases(count: int) -> Iterator[list[Database]]:
    """Give so many streaming pairs. The lab must be up."""
    programs = postgresql_programs.find(postgresql_programs.POSTGRESQL_VERSIONS[-1])
    folder = private_folder()
    made = [
        Database(
            f"db{number:02}",
            *(
                Host(Server(programs, folder, f"127.{70 + side}.0.{number}", f"{region}-db{number:02}"), region)
                for region, side in SIDES.items()
            ),
        )
        for number in range(1, count + 1)
    ]
    try:
        fill(made)
        for database in made:
            start(database)
        yield made
    finally:
        for host in (host for database in made for host in (database.west, database.east)):
            with suppress(LabError, OSError):
                supervisor.close_host(host.target)
                host.act("kill")
        shutil.rmtree(folder, ignore_errors=True)


def fill(made: list[Database]) -> None:
    """Make one database by initdb, and all the others, standbys too, as copies of it while it is stopped."""
    first = made[0].west.server
    first.create()
    first.start()
    first.sql(f"{TABLE}; SELECT pg_create_physical_replication_slot('standby', true)")
    first.stop()
    sides = [(database.west, database.east) for database in made]
    others = [host.server for pair in sides for host in pair if host.server is not first]
    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(lambda server: copy_tree(first.data, server.data), others))
    for west, east in sides:
        west.server.write_settings()
        east.server.write_settings()
        own = east.server.data / "postgresql.conf"
        source = f"{west.server.conninfo()} password={PASSWORD}"
        own.write_text(own.read_text() + f"primary_conninfo = '{source}'\nprimary_slot_name = 'standby'\n")
        signal_file = east.server.data / "standby.signal"
        signal_file.touch()
        identity.own(signal_file)


def start(database: Database) -> None:
    """Bring a pair up and wait until it streams."""
    for host in (database.west, database.east):
        host.define()
        host.act("unmask")  # the supervisor still knows one of this name that a recovery has fenced
        host.act("start")
    wait_for(lambda: answers(database.west) and streaming(database.west.server), 60)


def answers(host: Host) -> bool:
    """Say whether a server takes connections."""
    with suppress(ServerError):
        return host.server.sql("SELECT 1") == 1
    return False


def inventory(made: list[Database], folder: Path, services: dict[str, dict[str, Any]] | None = None) -> str:
    """Describe a platform of these databases, of services if there are any, with the lease in the clusters."""
    known_hosts = folder / "known_hosts"
    public = dict(line.split(maxsplit=1) for line in (KEYS / "known_hosts").read_text().splitlines())
    # A region's hosts share the key of that of the lab's own server.
    own = {region: addresses.link_address(addresses.OPERATOR, region, "postgresql") for region in SIDES}
    keys = {region: public[f"[{address}]:{SSH_PORT}"] for region, address in own.items()}
    hosts = [host for database in made for host in (database.west, database.east)]
    known_hosts.write_text("".join(f"[{host.server.address}]:{SSH_PORT} {keys[host.region]}\n" for host in hosts))
    platform = {
        "name": "many",
        "regions": {WEST: {"role": "primary"}, EAST: {"role": "secondary"}},
        "databases": {
            database.name: {
                "credentials": "admin",
                "database": "postgres",
                "tables": ["users"],
                "objectives": {"rto_seconds": 600, "rpo_seconds": 60},
                "members": {host.region: host.description(known_hosts) for host in (database.west, database.east)},
            }
            for database in made
        },
        "clusters": {
            region: {"region": region, "kubeconfig": str(ROOT / f".lab/kubeconfig/{region}.yml")} for region in SIDES
        },
        "services": services or {},
    }
    return written_inventory(platform, PASSWORD, folder)
