# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL in two regions: a primary, and a standby that streams from it over a link, by TLS, with a slot."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import psycopg2

from . import addresses, identity, supervisor
from .errors import LabError
from .postgresql_programs import PostgresqlPrograms
from .state import State, clone_folder, write
from .topology import SERVICES
from .wait import NotYet

Words = list[str | Path]

DATABASE = "platform_db"
SUPERUSER, OWNER, REPLICATOR = "postgres", "platform_app", "replicator"
GUARD_SOURCE = "roles/pg_fence/files/recovery-pg-guard"

TABLE = """
create table if not exists {table} (
    id bigint generated always as identity primary key,
    key text not null unique,
    value text not null,
    created_at timestamptz not null default now()
)"""

# What ai-service remembers of the other services' events: one line each, however often it came.
CONSUMED = """
create table if not exists consumed_events (
    topic text not null,
    row_id bigint not null,
    key text not null,
    partition integer not null,
    "offset" bigint not null,
    deliveries bigint not null default 1,
    first_at timestamptz not null default now(),
    last_at timestamptz not null default now(),
    primary key (topic, row_id, key)
)"""


def slot_name(region: str) -> str:
    """Name the slot by which a region's standby streams."""
    return region.replace("-", "_")


@dataclass(frozen=True)
class Member:
    """One region's database server, and the region at the other end of its replication."""

    state: State
    programs: PostgresqlPrograms
    region: str
    peer: str

    @property
    def target(self) -> str:
        """Name the server for the command line."""
        return f"{self.region}/postgresql"

    @property
    def address(self) -> str:
        """Give the address it listens on."""
        return addresses.server_address(self.region, "postgresql")

    @property
    def data(self) -> Path:
        """Give its data directory."""
        return self.state.data(self.region, "postgresql")

    @property
    def folder(self) -> Path:
        """Give the folder of its configuration, outside its data, as Debian does: rewinding must not replace it."""
        return self.state.server(self.region, "postgresql")

    @property
    def passfile(self) -> Path:
        """Give the file from which replication and the guard take their password: never a command line."""
        return self.folder / "pgpass"

    def conninfo(self, region: str, user: str, **more: str) -> str:
        """Say how this server's host reaches the server of a region."""
        parts = {
            "host": addresses.host_name(region, "postgresql"),
            "hostaddr": addresses.reach(self.target, region, "postgresql"),
            "port": str(addresses.PLACES["postgresql"][1]),
            "user": user,
            "passfile": str(self.passfile),
            "sslmode": "verify-full",
            "sslrootcert": str(self.state.ca),
            **more,
        }
        return " ".join(f"{key}={value}" for key, value in parts.items())

    def configure(self) -> None:
        """Write the configuration; it depends on nothing but the address plan."""
        archive = self.state.archive(self.region)
        replication = self.conninfo(self.peer, REPLICATOR, application_name=self.region)
        settings = {
            "data_directory": self.data,
            "hba_file": self.folder / "pg_hba.conf",
            "cluster_name": self.region,
            "listen_addresses": self.address,
            "port": addresses.PLACES["postgresql"][1],
            "unix_socket_directories": "",
            # 16 pods with pools of 4, twice that while they roll.
            "max_connections": 200,
            "shared_buffers": "32MB",
            # Among the data, where the next start cleans up: what a SIGKILL leaves in /dev/shm stays for ever.
            "dynamic_shared_memory_type": "mmap",
            "wal_level": "replica",
            "wal_log_hints": "on",
            "wal_keep_size": "64MB",
            "archive_mode": "on",
            "archive_command": (
                f"if test -f {archive}/%f; then cmp -s %p {archive}/%f; "
                f"else cp %p {archive}/.%f.part && mv {archive}/.%f.part {archive}/%f; fi"
            ),
            "primary_conninfo": replication,
            "primary_slot_name": slot_name(self.region),
            "ssl": "on",
            "ssl_cert_file": self.state.pki / f"{self.region}-postgresql.crt",
            "ssl_key_file": self.state.pki / f"{self.region}-postgresql.key",
            "password_encryption": "scram-sha-256",
            "log_line_prefix": "%m [%p] %q%a@%d ",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        lines = [f"{key} = '{value}'" for key, value in settings.items()]
        write(self.folder / "postgresql.conf", "\n".join(lines) + "\n")
        hba = ("all all", "replication " + REPLICATOR, "replication " + SUPERUSER)
        write(self.folder / "pg_hba.conf", "".join(f"hostssl {who} 127.0.0.0/8 scram-sha-256\n" for who in hba))
        users = (SUPERUSER, REPLICATOR)
        write(self.passfile, "".join(f"*:*:*:{user}:{self.state.secret(user)}\n" for user in users), mode=0o600)
        archive.mkdir(parents=True, exist_ok=True)
        self.data.parent.mkdir(parents=True, exist_ok=True)
        for path in (self.folder, archive, self.data.parent):
            identity.own(path)

    def define(self) -> None:
        """Tell the supervisor how to run the server and its guard."""
        argv: Words = [
            self.programs.path("postgres"),
            "-D",
            self.data,
            "-c",
            f"config_file={self.folder}/postgresql.conf",
        ]
        environment = self.programs.environment
        # INT is PostgreSQL's fast shutdown: it does not wait for clients.
        server = supervisor.Definition(argv, environment, stop_signal="INT", stop_seconds=10)
        supervisor.define(f"{self.target}/postgres", server, self.state)
        guard = clone_folder() / GUARD_SOURCE
        if not guard.exists():
            raise LabError(f"{guard} is missing: no database starts without its guard. Restore the clone's files.")
        # A copy, because the lab's user may not be able to read the clone.
        copy = identity.own(write(self.folder / guard.name, guard.read_bytes(), mode=0o755))
        local = self.conninfo(self.region, REPLICATOR, dbname="postgres")
        peer = self.conninfo(self.peer, REPLICATOR, dbname="postgres")
        words: Words = ["/bin/sh", copy, "--data-directory", self.data, "--local", local, "--peer", peer]
        supervisor.define(f"{self.target}/guard", supervisor.Definition(words, environment), self.state)

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        supervisor.act(f"{self.target}/postgres", "start")
        what = f"{self.target} to accept connections"
        supervisor.wait_for(self.answers, process=f"{self.target}/postgres", state=self.state, seconds=60, what=what)

    def start_guard(self) -> None:
        """Start the guard."""
        supervisor.act(f"{self.target}/guard", "start")

    def initialise(self) -> None:
        """Make a new cluster with checksums; only its superuser exists, with a password."""
        pwfile = identity.own(write(self.folder / "initdb-password", self.state.secret(SUPERUSER), mode=0o600))
        words: Words = [
            "--pgdata",
            self.data,
            "--username",
            SUPERUSER,
            "--pwfile",
            pwfile,
            "--auth",
            "scram-sha-256",
        ]
        words += ["--encoding", "UTF8", "--locale", "C.UTF-8", "--data-checksums", "--no-sync", "--no-instructions"]
        argv = [self.programs.path("initdb"), *words]
        try:
            identity.run(argv, cwd=self.state.root, env=self.programs.environment, what=f"initdb of {self.target}")
        finally:
            pwfile.unlink()

    @property
    def exists(self) -> bool:
        """Tell whether there is data to start from."""
        return (self.data / "PG_VERSION").exists()

    def discard(self) -> None:
        """Throw the data away."""
        shutil.rmtree(self.data, ignore_errors=True)

    def populate(self) -> None:
        """Make the roles, the database and the application's tables."""
        self.execute(
            "postgres",
            f"create role {OWNER} login password '{self.state.secret(OWNER)}'",
            f"create role {REPLICATOR} login replication password '{self.state.secret(REPLICATOR)}'",
            f"create database {DATABASE} owner {OWNER}",
        )
        tables = [TABLE.format(table=service.table) for service in SERVICES.values()]
        self.execute(DATABASE, f"set role {OWNER}", *tables, CONSUMED)

    def clone_from_peer(self) -> None:
        """Build this server as a standby of its peer."""
        # A torn attempt may have left both a folder and a slot.
        self.discard()
        peer = Member(self.state, self.programs, self.peer, self.region)
        slot = slot_name(self.region)
        peer.execute(
            "postgres",
            f"select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = '{slot}'",
        )
        words: Words = [
            "--pgdata",
            self.data,
            "--dbname",
            self.conninfo(self.peer, REPLICATOR),
            "--checkpoint",
            "fast",
        ]
        words += ["--create-slot", "--slot", slot, "--wal-method", "stream", "--no-sync", "--no-password"]
        argv = [self.programs.path("pg_basebackup"), *words]
        identity.run(argv, cwd=self.state.root, env=self.programs.environment, what=f"base backup for {self.target}")
        identity.own(write(self.data / "standby.signal", ""))

    def execute(self, database: str, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements one by one, each committed; give the last one's rows. OSError if the server is not there."""
        return self._run(database, statements)[-1]

    def ask(self, database: str, questions: Mapping[str, str]) -> dict[str, list[tuple[Any, ...]]]:
        """Ask named questions over one connection; give the rows of each."""
        return dict(zip(questions, self._run(database, questions.values()), strict=True))

    def _run(self, database: str, statements: Iterable[str]) -> list[list[tuple[Any, ...]]]:
        found = []
        try:
            with closing(psycopg2.connect(self.url(database, self.address), connect_timeout=2)) as connection:
                connection.autocommit = True
                with connection.cursor() as cursor:
                    for statement in statements:
                        cursor.execute(statement)
                        found.append(list(cursor.fetchall()) if cursor.description else [])
        except psycopg2.OperationalError as error:
            raise ConnectionError(str(error).strip()) from error
        except psycopg2.Error as error:
            raise LabError(f"{self.target}: {str(error).strip()}") from error
        return found

    def url(self, database: str, hostaddr: str) -> str:
        """Give a URL that libpq accepts, superuser's password included: it is a lab."""
        query = {"hostaddr": hostaddr, "sslmode": "verify-full", "sslrootcert": str(self.state.ca)}
        place = f"{addresses.host_name(self.region, 'postgresql')}:{addresses.PLACES['postgresql'][1]}"
        password = quote(self.state.secret(SUPERUSER), safe="")
        return f"postgresql://{SUPERUSER}:{password}@{place}/{database}?{urlencode(query)}"

    def leave_mark(self) -> None:
        """Commit something that no table shows: a standby's age is that of the newest commit it has replayed."""
        self.execute("postgres", "select pg_logical_emit_message(true, 'recovery-lab', 'up')")

    def answers(self) -> None:
        """Probe: it accepts connections."""
        self.execute("postgres", "select 1")

    def in_recovery(self) -> bool:
        """Ask whether it is a standby."""
        return bool(self.execute("postgres", "select pg_is_in_recovery()")[0][0])

    def receives(self) -> None:
        """Probe: a standby that streams."""
        rows = self.execute("postgres", "select status from pg_stat_wal_receiver")
        if not rows or rows[0][0] != "streaming":
            raise NotYet(f"the receiver of {self.target} is {rows[0][0] if rows else 'absent'}")
