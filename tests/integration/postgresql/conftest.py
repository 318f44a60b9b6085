# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pairs of real servers, and a service manager that is a few lines of Python."""

from __future__ import annotations

import itertools
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ansible_collections.platform.recovery.plugins.module_utils import service_manager
from ansible_collections.platform.recovery.plugins.module_utils.postgresql import (
    host,
    rejoin_scripts,
    rejoin_work,
)
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.model import Fence, Member
from recovery_lab import postgresql_programs
from recovery_lab.postgresql_programs import PostgresqlPrograms
from tests.integration.postgresql.servers import Server, environment, private_folder, streaming, unprivileged, wait_for

ADDRESSES = (f"127.7.{high}.{low}" for high, low in itertools.product(range(1, 250), range(1, 250)))


@dataclass
class Manager:
    """Stands in for the hosts' systemctl: one unit a server, named by the fence's host."""

    servers: dict[str, Server] = field(default_factory=dict)
    masked: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    commands: list[str] = field(default_factory=list)

    def run(self, fence: Fence, command: str, *, seconds: float) -> service_manager.Answer:
        del seconds
        name = fence.host or ""
        self.commands.append(command)
        if name in self.silent:
            return service_manager.Answer(trouble=f"no answer by ssh from {name}")
        server = self.servers[name]
        for part in command.split("; "):
            if " mask " in part:
                self.masked.add(name)
            elif " unmask " in part:
                self.masked.discard(name)
            elif " start " in part and name not in self.masked:
                server.start_if_down()
            elif " kill " in part:
                server.kill()
            elif " stop " in part:
                server.stop()
        alive = server.process is not None and server.process.poll() is None
        shown = {
            "ActiveState": "active" if alive else "inactive",
            "MainPID": str(server.process.pid) if alive and server.process else "0",
            "UnitFileState": "masked" if name in self.masked else "enabled",
        }
        return service_manager.Answer("\n".join(f"{key}={value}" for key, value in shown.items()))


@dataclass
class Scripts:
    """Stands in for the hosts' ssh: scripts run here, as the servers' user; one may be cut short at a place."""

    programs: PostgresqlPrograms
    folder: Path
    ran: list[str] = field(default_factory=list)
    cut: tuple[str, str] | None = None

    def run(self, member: Member, script: str, *, seconds: float) -> host.Done:
        del member, seconds
        verb = next(name for name, text in rejoin_scripts.VERBS.items() if text in script)
        self.ran.append(verb)
        if self.cut and self.cut[0] == verb:
            place = self.cut[1]
            self.cut = None
            assert place in script
            # As if the controller had died: the host's script ends there, and nobody hears of it.
            self.sh(script.replace(place, f"kill -KILL $$\n{place}", 1))
            raise Cut(verb)
        done = self.sh(script)
        return host.Done(done.returncode, done.stdout, done.stderr)

    def sh(self, script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-s"],
            input=script,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env=environment(self.programs),
            **unprivileged(),
        )


class Cut(Exception):
    """The controller is gone."""


@dataclass
class Pair:
    """A primary named west, its standby named east, and all that tests need of them."""

    west: Server
    east: Server
    manager: Manager
    scripts: Scripts

    def members(self) -> dict[str, Member]:
        found = {}
        for server in (self.west, self.east):
            plain = server.member()
            fence = Fence(method="systemd", host=server.name)
            found[server.name] = Member(
                plain.name, plain.host, plain.address, plain.port, plain.sslmode, plain.sslrootcert, fence
            )
        return found

    def options(self) -> dict[str, dict[str, object]]:
        return {
            server.name: {
                "host": server.address,
                "address": server.address,
                "port": server.port,
                "sslmode": "prefer",
                "data_directory": str(server.data),
                "bin_directory": str(server.programs.folder),
                "fence": {"host": server.name, "user": "nobody", "sudo": False},
            }
            for server in (self.west, self.east)
        }


@pytest.fixture(scope="session", params=postgresql_programs.POSTGRESQL_VERSIONS, ids="postgresql-{}".format)
def programs(request: pytest.FixtureRequest) -> PostgresqlPrograms:
    """Give the oldest and the newest version, as the lab provides them without root."""
    return postgresql_programs.find(request.param)


@pytest.fixture(scope="session")
def first_copy(programs: PostgresqlPrograms) -> Iterator[Path]:
    """Make an empty cluster once: initdb is most of a test's time."""
    folder = private_folder()
    Server(programs, folder, next(ADDRESSES), "west").create()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def pair(programs: PostgresqlPrograms, first_copy: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    folder = private_folder()
    west, east = (Server(programs, folder, next(ADDRESSES), name) for name in ("west", "east"))
    copy_tree(first_copy / "west", west.data)
    west.write_settings()
    manager = Manager({"west": west, "east": east})
    scripts = Scripts(programs, folder)
    monkeypatch.setattr(service_manager, "run", manager.run)
    monkeypatch.setattr(rejoin_work, "run_script", scripts.run)
    try:
        west.start()
        west.sql("CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text UNIQUE, value text)")
        east.follow(west)
        east.start()
        wait_for(lambda: streaming(west))
        yield Pair(west, east, manager, scripts)
    finally:
        for server in (west, east):
            with suppress(ProcessLookupError, AssertionError, FileNotFoundError):
                server.signal_tree(signal.SIGCONT)
            server.kill()
        shutil.rmtree(folder)


def copy_tree(source: Path, target: Path) -> None:
    """Copy a cluster with its owner and modes."""
    shutil.copytree(source, target)
    for path in (target, *target.rglob("*")):
        seen = (source / path.relative_to(target)).stat()
        shutil.chown(path, seen.st_uid, seen.st_gid)
