# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Throw-away PostgreSQL servers for tests: real ones, on loopback, as an unprivileged user."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.platform.recovery.plugins.module_utils.postgresql.client import ServerError, Session
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.model import Credentials, Member
from recovery_lab.postgresql_programs import PostgresqlPrograms

NOBODY = 65534
PASSWORD = "throw-away"
CREDENTIALS = Credentials("postgres", PASSWORD)
SETTINGS = """
wal_level = replica
hot_standby = on
fsync = off
max_wal_senders = 8
max_replication_slots = 8
max_connections = 40
shared_buffers = 16MB
max_wal_size = 256MB
wal_keep_size = 64MB
wal_log_hints = on
unix_socket_directories = ''
logging_collector = off
autovacuum = off
"""


@dataclass
class Server:
    """One server process and its data."""

    programs: PostgresqlPrograms
    folder: Path
    address: str
    name: str
    port: int = 5432
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def data(self) -> Path:
        return self.folder / self.name

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def member(self) -> Member:
        return Member(name=self.name, host=self.address, address=self.address, port=self.port, sslmode="prefer")

    def conninfo(self) -> str:
        return f"host={self.address} port={self.port} user=postgres dbname=postgres"

    def tool(self, *command: str) -> str:
        done = subprocess.run(
            [str(self.programs.path(command[0])), *command[1:]],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env=environment(self.programs),
            **unprivileged(),
        )
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    def create(self) -> None:
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        account = ["-U", "postgres", "--pwfile", str(secret), "-A", "scram-sha-256"]
        self.tool("initdb", "-D", str(self.data), "-N", *account)
        self.write_settings()
        with (self.data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 127.0.0.0/8 scram-sha-256\nhost replication all 127.0.0.0/8 scram-sha-256\n")

    def write_settings(self) -> None:
        own = f"listen_addresses = '{self.address}'\nport = {self.port}\ncluster_name = '{self.name}'\n"
        (self.data / "postgresql.conf").write_text(SETTINGS + own)

    def follow(self, primary: Server, *, slot: str = "standby") -> None:
        with primary.session() as session:
            if not session.rows("SELECT 1 FROM pg_replication_slots WHERE slot_name = %s", (slot,)):
                session.run("SELECT pg_create_physical_replication_slot(%s, true)", (slot,))
        source = f"{primary.conninfo()} password={PASSWORD}"
        how = ["-R", "-S", slot, "-X", "stream", "-c", "fast", "-N"]
        self.tool("pg_basebackup", "-d", source, "-D", str(self.data), *how)
        self.write_settings()

    def turn_standby(self, primary: Server) -> None:
        """Make what was a primary follow another one."""
        with (self.data / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"primary_conninfo = '{primary.conninfo()} password={PASSWORD}'\nprimary_slot_name = ''\n")
        signal_file = self.data / "standby.signal"
        signal_file.touch()
        if os.getuid() == 0:
            os.chown(signal_file, NOBODY, NOBODY)

    def start(self) -> Server:
        self.process = subprocess.Popen(
            [str(self.programs.path("postgres")), "-D", str(self.data)],
            stdin=subprocess.DEVNULL,
            stdout=self.log.open("ab"),
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            env=environment(self.programs),
            start_new_session=True,
            **unprivileged(),
        )
        deadline = time.monotonic() + 30
        while True:
            try:
                with self.session() as session:
                    session.value("SELECT 1")
                    return self
            except ServerError:
                assert self.process.poll() is None, self.log.read_text()[-2000:]
                assert time.monotonic() < deadline, self.log.read_text()[-2000:]
                time.sleep(0.02)

    def start_if_down(self) -> None:
        if self.process is None or self.process.poll() is not None:
            self.start()

    @contextlib.contextmanager
    def session(self, database: str = "postgres") -> Iterator[Session]:
        with Session(self.member(), CREDENTIALS, database, statement_seconds=10) as session:
            yield session

    def sql(self, statement: str) -> object:
        with self.session() as session:
            return session.value(statement)

    def tree(self) -> list[int]:
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid, *map(int, children)]

    def signal_tree(self, number: signal.Signals) -> None:
        for pid in self.tree():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def freeze(self) -> None:
        self.signal_tree(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal_tree(signal.SIGCONT)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.signal_tree(signal.SIGKILL)
            self.process.wait(10)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.data)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(20)


def unprivileged() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    return {"user": NOBODY, "group": NOBODY} if os.getuid() == 0 else {}


def environment(programs: PostgresqlPrograms) -> dict[str, str]:
    """Nothing of ours reaches the servers. An unpacked server must find its own libraries before the system's."""
    return {**programs.environment, "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def private_folder() -> Path:
    """A short path that the servers' user owns."""
    folder = Path(tempfile.mkdtemp(prefix="rpg-"))
    folder.chmod(0o755)
    if os.getuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    return folder


def wait_for(condition: object, seconds: float = 10) -> None:
    """Wait until a callable gives something truthy."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def streaming(primary: Server) -> bool:
    """Say whether a standby is attached."""
    return primary.sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == 1
