# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real Patroni on real etcd, as units of a host that is entered by SSH: what runs there is the lab's supervisor.

One cluster over both regions, or a cluster in each of which one is the other's standby. PostgreSQL refuses to run as
root, so the supervisor, and with it all that it starts, runs as the lab's user.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme
import yaml

from ansible_collections.platform.recovery.plugins.module_utils.postgresql.client import ServerError, Session
from ansible_collections.platform.recovery.plugins.module_utils.postgresql.model import Member
from recovery_lab import identity, programs
from recovery_lab import ssh as lab_ssh
from recovery_lab.postgresql_programs import PostgresqlPrograms
from tests.integration.postgresql.servers import CREDENTIALS, PASSWORD, wait_for

API_PASSWORD = "throw-away-api"
REGIONS = ("west", "east")
SSH_PORT, API_PORT = 2222, 8008
# Patroni's least: below it a leader's lock cannot be renewed in time.
TTL_SECONDS = 20
PATRONI = Path(sys.executable).parent / "patroni"
PATRONICTL = PATRONI.with_name("patronictl")
SETTINGS = {
    "fsync": "off",
    "max_connections": 40,
    "shared_buffers": "16MB",
    "max_wal_size": "256MB",
    "wal_keep_size": "64MB",
    "wal_log_hints": "on",
    "wal_receiver_timeout": "3s",
    "autovacuum": "off",
    "unix_socket_directories": "",
}


class Socket(http.client.HTTPConnection):
    """The supervisor's own entrance: not that of the lab, which may run beside this."""

    def __init__(self, name: str) -> None:
        super().__init__("lab", timeout=60)
        self.name = name

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(f"\0{self.name}")


@dataclass
class Supervisor:
    """Runs processes as units that can be masked, killed and frozen, each host behind an SSH server of its own."""

    folder: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def socket(self) -> str:
        return f"platform-recovery-{self.folder.name}"

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        with contextlib.closing(Socket(self.socket)) as connection:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            content = answer.read()
        assert answer.status < 300, content
        return json.loads(content) if content.strip() else None

    def start(self) -> None:
        program = programs.find("small", print)["lab-supervisor"]
        words = [str(program), "--state", str(self.folder), "--socket", f"@{self.socket}"]
        with (self.folder / "supervisor.log").open("wb") as log:
            self.process = subprocess.Popen(
                [*lowered(), *words], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

        def answers() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, (self.folder / "supervisor.log").read_text()
            with contextlib.suppress(OSError):
                return bool(self.call("GET", "/v1/lab"))
            return False

        wait_for(answers)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)

    def define(self, name: str, *argv: str | Path, **environment: str) -> None:
        body = {
            "argv": [str(word) for word in argv],
            "env": identity.clean_environment(self.folder, environment),
            "cwd": str(self.folder),
            "log": str(self.folder / f"{name.replace('/', '-')}.log"),
            "stop_seconds": 30,
        }
        self.call("PUT", f"/v1/processes/{name}", body)

    def act(self, name: str, verb: str) -> None:
        self.call("POST", f"/v1/processes/{name}/{verb}")

    def run(self, *argv: str | Path) -> None:
        """Run a program of the operator's to its end."""
        done = subprocess.run(
            [str(word) for word in argv], cwd=self.folder, capture_output=True, text=True, check=False, timeout=30
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def masked(self, name: str) -> bool:
        return bool(self.call("GET", f"/v1/processes/{name}").get("masked"))


def lowered() -> list[str]:
    """Give the words before a command that run it as the lab's user, and let it die with this process.

    Where root alone may read the checkout, that user is let into it: Patroni is a Python program of the test's own
    environment.
    """
    setpriv = shutil.which("setpriv")
    assert setpriv, "util-linux' setpriv is missing"
    words = [setpriv, "--pdeathsig", "KILL"]
    if identity.is_root():
        words += [f"--reuid={identity.NOBODY}", f"--regid={identity.NOBODY}", "--clear-groups"]
        if not identity.reachable(Path(sys.executable)) or not identity.reachable(PATRONI):
            words += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return [*words, "--"]


@dataclass
class Node:
    """One node: a Patroni with its PostgreSQL, in a region with a host of its own."""

    region: str
    address: str
    scope: str
    etcd: str
    supervisor: Supervisor
    programs: PostgresqlPrograms
    tls: bool = False
    standby_cluster: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        return f"pg-{self.region}"

    @property
    def unit(self) -> str:
        return f"{self.supervisor.folder.name}/{self.region}/patroni"

    @property
    def data(self) -> Path:
        return self.supervisor.folder / self.region

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.address}:{API_PORT}"

    @property
    def member(self) -> Member:
        return Member(name=self.region, host=self.address, address=self.address, sslmode="disable")

    @property
    def settings_file(self) -> Path:
        return self.supervisor.folder / f"{self.region}.yml"

    def define(self) -> None:
        self.settings_file.write_text(yaml.safe_dump(self.settings()))
        self.settings_file.chmod(0o644)
        self.supervisor.define(self.unit, PATRONI, self.settings_file, **self.programs.environment)

    def settings(self) -> dict[str, Any]:
        """Write what an operator would write into patroni.yml."""
        folder = self.supervisor.folder
        restapi: dict[str, Any] = {
            "listen": f"{self.address}:{API_PORT}",
            "connect_address": f"{self.address}:{API_PORT}",
            "authentication": {"username": "api", "password": API_PASSWORD},
        }
        if self.tls:
            restapi |= {
                "certfile": str(folder / f"{self.region}.crt"),
                "keyfile": str(folder / f"{self.region}.key"),
                "cafile": str(folder / "ca.crt"),
                "verify_client": "required",
            }
        client = {"cacert": "cafile", "certfile": "certfile", "keyfile": "keyfile"}
        dynamic: dict[str, Any] = {
            "ttl": TTL_SECONDS,
            "loop_wait": 1,
            "retry_timeout": 3,
            "postgresql": {"use_pg_rewind": True, "use_slots": True, "parameters": SETTINGS},
        }
        if self.standby_cluster:
            dynamic["standby_cluster"] = self.standby_cluster
        return {
            "scope": self.scope,
            "name": self.name,
            "restapi": restapi,
            **({"ctl": {name: restapi[key] for name, key in client.items()}} if self.tls else {}),
            "etcd3": {"host": self.etcd},
            "bootstrap": {"dcs": dynamic, "initdb": [{"encoding": "UTF8"}, "no-sync"]},
            "postgresql": {
                "listen": f"{self.address}:5432",
                "connect_address": f"{self.address}:5432",
                "data_dir": str(self.data),
                "bin_dir": str(self.programs.folder),
                "pgpass": str(folder / f"{self.region}.pgpass"),
                "authentication": {
                    "superuser": {"username": "postgres", "password": PASSWORD},
                    "replication": {"username": "follower", "password": PASSWORD},
                },
                "pg_hba": [
                    "host all all 127.0.0.0/8 scram-sha-256",
                    "host replication all 127.0.0.0/8 scram-sha-256",
                ],
            },
            "watchdog": {"mode": "off"},
        }

    def act(self, verb: str) -> None:
        self.supervisor.act(self.unit, verb)

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        with Session(self.member, CREDENTIALS, connect_seconds=1, statement_seconds=5) as session:
            yield session

    def sql(self, statement: str) -> Any:
        with self.session() as session:
            return session.value(statement)

    def role(self) -> str | None:
        """Say what it is, asked by SQL."""
        with contextlib.suppress(ServerError):
            return "standby" if self.sql("SELECT pg_is_in_recovery()") else "primary"
        return None

    def streams(self) -> bool:
        with contextlib.suppress(ServerError):
            return bool(self.sql("SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'"))
        return False

    def ask(self, path: str, body: Mapping[str, Any] | None = None, method: str = "GET") -> Any:
        """Ask its API as its operator, with nothing of ours in between."""
        account = base64.b64encode(f"api:{API_PASSWORD}".encode()).decode()
        words = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Basic {account}"}
        request = urllib.request.Request(self.url + path, words, headers, method=method)
        context = None
        if self.tls:
            folder = self.supervisor.folder
            context = ssl.create_default_context(cafile=folder / "ca.crt")
            context.load_cert_chain(folder / "client.crt", folder / "client.key")
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            text = answer.read().decode()
        return json.loads(text) if text.startswith("{") else text


@dataclass
class World:
    """A database that Patroni runs in two regions."""

    topology: str
    folder: Path
    supervisor: Supervisor
    west: Node
    east: Node
    spare: Node | None = None
    """A second node in the west, where a test asked for one."""

    @property
    def nodes(self) -> dict[str, Node]:
        return {"west": self.west, "east": self.east}

    def start(self) -> World:
        """Let west be the primary and east its standby."""
        for node in filter(None, (self.west, self.east, self.spare)):
            node.define()
            self.open_host(node)
        self.west.act("start")
        wait_for(lambda: self.west.role() == "primary", 60)
        wait_for(self._initialised, 20)
        self.east.act("start")
        wait_for(self.settled, 60)
        if self.spare:
            self.spare.act("start")
            wait_for(self.spare.streams, 60)
        self.west.sql(
            "CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text UNIQUE, value text)"
        )
        return self

    def settled(self, primary: str = "west") -> bool:
        """Say whether a region has the primary, the other one follows it, and each Patroni knows."""
        first = self.nodes[primary]
        [second] = [node for name, node in self.nodes.items() if name != primary]
        if first.role() != "primary" or not second.streams():
            return False
        with contextlib.suppress(OSError, KeyError):
            seen = {row["name"]: (row["role"], row["state"]) for row in first.ask("/cluster")["members"]}
            seen |= {row["name"]: (row["role"], row["state"]) for row in second.ask("/cluster")["members"]}
            second_role = "replica" if self.topology == "one_cluster" else "standby_leader"
            return (seen[first.name], seen[second.name]) == (("leader", "running"), (second_role, "streaming"))
        return False

    def switch_back(self) -> None:
        """Have west made the primary again, as patronictl would."""
        if self.topology == "one_cluster":
            words = {"leader": self.east.name, "candidate": self.west.name}
            self.east.ask("/switchover", words, "POST")
            return
        self.east.ask("/config", {"standby_cluster": {"host": self.west.address, "port": 5432}}, "PATCH")
        wait_for(lambda: self.east.role() == "standby", 30)
        self.west.ask("/config", {"standby_cluster": None}, "PATCH")

    def _initialised(self) -> bool:
        with contextlib.suppress(ServerError):
            return bool(self.west.sql("SELECT count(*) FROM pg_roles WHERE rolname = 'follower'"))
        return False

    def heal(self) -> World:
        """Bring both back to where west is the primary and east follows it, by Patroni's own means."""
        for node in self.nodes.values():
            self.open_host(node)
        lost = [node for node in self.nodes.values() if node.role() is None]
        living = [node for node in self.nodes.values() if node.role() == "primary"]
        for node in lost:
            self.bring_back(node, living[0] if living else None)
        if not lost and not living and self.topology != "one_cluster":
            self.west.ask("/config", {"standby_cluster": None}, "PATCH")
        wait_for(lambda: any(self.settled(name) for name in self.nodes), 60)
        if not self.settled("west"):
            self.switch_back()
            wait_for(self.settled, 60)
        self.west.sql("TRUNCATE users")
        return self

    def bring_back(self, node: Node, primary: Node | None) -> None:
        """Start a node that was lost; where a cluster of its own was replaced, as a standby of the new primary."""
        node.act("kill")
        if primary and self.topology != "one_cluster":
            # Its own DCS still calls it a primary. patronictl writes there, with no Patroni running.
            words = ["edit-config", "--force", "--quiet", "-s", f"standby_cluster.host={primary.address}"]
            self.supervisor.run(PATRONICTL, "-c", node.settings_file, *words, "-s", "standby_cluster.port=5432")
        self.supervisor.act(node.unit, "unmask")
        node.act("start")

    def stop(self) -> None:
        """End everything; what is frozen is killed."""
        for node in filter(None, (self.west, self.east, self.spare)):
            with contextlib.suppress(OSError, AssertionError):
                node.act("kill")

    def open_host(self, node: Node) -> None:
        """Let the host of a node be entered by SSH, where its unit is governed."""
        keys = self.folder / "ssh"
        body = {
            "listen": f"{node.address}:{SSH_PORT}",
            "host_key_file": str(keys / f"host-{node.region}"),
            "authorized_keys_file": str(keys / "authorized_keys"),
            "units": {"patroni": node.unit},
            "environment": {"PATH": "/usr/bin:/bin"},
        }
        self.supervisor.call("PUT", f"/v1/hosts/{self.folder.name}/{node.region}", body)

    def close_host(self, node: Node) -> None:
        """Lose the way to the host of a node."""
        self.supervisor.call("DELETE", f"/v1/hosts/{self.folder.name}/{node.region}")

    def described(self, node: Node) -> dict[str, Any]:
        """Describe the member of a region, as an operator would."""
        here = [node, self.spare] if node is self.west and self.spare else [node]
        place = {"nodes": {one.name: self.described_node(one) for one in here}}
        return {"host": node.address, "address": node.address, "sslmode": "disable", "patroni": place}

    def described_node(self, node: Node) -> dict[str, Any]:
        """Describe one node and the way to its host."""
        keys = self.folder / "ssh"
        fence = {
            "host": node.address,
            "port": SSH_PORT,
            "user": "operator",
            "identity_file": str(keys / lab_ssh.USER),
            "known_hosts_file": str(keys / "known_hosts"),
            "unit": "patroni",
            "sudo": False,
        }
        return {"url": node.url, "fence": fence, "host": node.address}

    @property
    def api(self) -> dict[str, str]:
        """Describe how the API is to be trusted."""
        if not self.west.tls:
            return {}
        return {
            name: str(self.folder / f"client.{end}") for name, end in (("cert_file", "crt"), ("key_file", "key"))
        } | {"ca_file": str(self.folder / "ca.crt")}

    def options(self) -> dict[str, dict[str, Any]]:
        """Give the members as a run hands them to its steps."""
        found = {name: self.described(node) for name, node in self.nodes.items()}
        for member in found.values():
            member["patroni"] |= {"topology": self.topology, **self.api}
        return found

    def platform(self) -> dict[str, Any]:
        """Describe a platform of this one database."""
        return {
            "name": "patroni",
            "regions": {"west": {"role": "primary"}, "east": {"role": "secondary"}},
            "databases": {
                "orders": {
                    "provider": "patroni",
                    "patroni": {"topology": self.topology, "credentials": "api", **self.api},
                    "credentials": "admin",
                    "database": "postgres",
                    "tables": ["users"],
                    "objectives": {"rto_seconds": 600, "rpo_seconds": 60},
                    "members": {name: self.described(node) for name, node in self.nodes.items()},
                }
            },
        }


def etcd_words(program: Path, folder: Path, address: str) -> list[str]:
    """Write etcd's command line."""
    client, peer = f"http://{address}:2379", f"http://{address}:2380"
    words = [f"--data-dir={folder}", f"--listen-client-urls={client}", f"--advertise-client-urls={client}"]
    words += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"]
    return [str(program), *words, f"--initial-cluster=default={peer}", "--unsafe-no-fsync", "--log-level=warn"]


def write_keys(folder: Path, nodes: Mapping[str, str]) -> None:
    """Make the operator's key, and those by which the hosts are known."""
    keys = folder / "ssh"
    public = {name: lab_ssh.make_key(keys / name) for name in (lab_ssh.USER, *(f"host-{name}" for name in nodes))}
    (keys / "authorized_keys").write_text(f"{public[lab_ssh.USER]}\n")
    known = [f"[{address}]:{SSH_PORT} {public[f'host-{name}']}\n" for name, address in nodes.items()]
    (keys / "known_hosts").write_text("".join(known))
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.crt")
    for name, identity_ in (*nodes.items(), ("client", "operator.example.com")):
        issued = authority.issue_cert(identity_)
        issued.private_key_pem.write_to_path(folder / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(folder / f"{name}.crt")
    identity.own(folder)
    # The operator's own: ssh takes no key of somebody else.
    for mine in (keys / lab_ssh.USER, folder / "client.key", folder / "client.crt"):
        os.chown(mine, os.geteuid(), os.getegid())


@contextlib.contextmanager
def running(
    topology: str, server: PostgresqlPrograms, folder: Path, network: str, *, tls: bool = False, spare: bool = False
) -> Iterator[World]:
    """Run one: `network` are the first two numbers of its addresses, which nobody else may have."""
    names = (*REGIONS, "spare") if spare else REGIONS
    addresses = {name: f"{network}.{number}.1" for number, name in enumerate(names, 1)}
    write_keys(folder, addresses)
    supervisor = Supervisor(folder)
    one = topology == "one_cluster"
    etcd = programs.find("small", print)["etcd"]
    made = {}
    for name, address in addresses.items():
        store = f"{network}.{1 if one else addresses[name].split('.')[2]}.2"
        standby = {"host": addresses["west"], "port": 5432} if name == "east" and not one else None
        scope = "orders" if one else f"orders-{name}"
        made[name] = Node(name, address, scope, f"{store}:2379", supervisor, server, tls, standby)
    found = World(topology, folder, supervisor, **made)
    try:
        supervisor.start()
        for store in sorted({node.etcd.partition(":")[0] for node in made.values()}):
            name = f"{folder.name}/{store}/etcd"
            supervisor.define(name, *etcd_words(etcd, folder / f"etcd-{store}", store))
            supervisor.act(name, "start")
        yield found.start()
    finally:
        found.stop()
        supervisor.stop()
