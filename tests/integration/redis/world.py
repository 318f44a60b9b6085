# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small world of real servers: Redis and Sentinel in two regions, by TLS, with a host each and links in between.

Everybody goes by the names of the servers, which lead elsewhere from each place, as in the lab.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
import trustme
from redis.backoff import NoBackoff
from redis.retry import Retry

from recovery_lab import identity, programs, redis_servers
from recovery_lab import ssh as lab_ssh
from tests.integration.postgresql.patroni_world import Supervisor

WEST, EAST = "us-west-2", "us-east-1"
NUMBER = {WEST: 1, EAST: 2}
BYTES = {"redis": 60, "sentinel": 61, "ssh": 30}
PORTS = {"redis": 6379, "sentinel": 26379, "ssh": 2222}
PROXY = ("127.60.0.20", 8474)
PASSWORD = "throw-away-redis"
STORE = "sessions"
GUARD = Path(__file__).resolve().parents[3] / redis_servers.GUARD_SOURCE
# As Sentinel makes them up; given here, so that they need not find each other first.
IDS = {WEST: "a" * 40, EAST: "b" * 40}


def address(region: str, kind: str) -> str:
    return f"127.60.{NUMBER[region]}.{BYTES[kind]}"


def link(region: str, kind: str, origin: str = "operator") -> str:
    return f"127.60.{(100 if origin == 'operator' else 110) + NUMBER[region]}.{BYTES[kind]}"


def name(region: str, kind: str = "redis") -> str:
    return f"{kind}.{region}.test"


def other(region: str) -> str:
    return EAST if region == WEST else WEST


class Writer:
    """Writes numbered keys to whoever Sentinel says is primary, and knows which of them were acknowledged."""

    def __init__(self, world: World, *regions: str, every: float = 0.002) -> None:
        self.world, self.regions, self.every = world, regions or (WEST, EAST), every
        self.acknowledged: dict[str, tuple[str, float]] = {}
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(region,)) for region in self.regions]

    def __enter__(self) -> Writer:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _write(self, region: str) -> None:
        """Write to one region's server, whatever it is by now: an oracle of who takes writes."""
        client, number = self.world.client(region, seconds=0.5), 0
        while not self._over.wait(self.every):
            number += 1
            key = f"canary:{region}:{number}"
            with contextlib.suppress(redis.RedisError):
                client.set(key, number)
                self.acknowledged[key] = (region, time.monotonic())
        client.close()

    def count(self, region: str | None = None, after: float = 0) -> int:
        rows = list(self.acknowledged.values())
        return sum(1 for where, when in rows if when >= after and region in (None, where))

    def missing(self, region: str) -> list[str]:
        """List what was acknowledged by anybody and is not there."""
        with contextlib.closing(self.world.client(region)) as client:
            held = {str(key) for key in client.keys("canary:*")}
        return [key for key in self.acknowledged if key not in held]


@dataclass
class World:
    """All of it."""

    folder: Path
    supervisor: Supervisor
    programs: dict[str, Path]
    links: dict[str, tuple[str, str]] = field(default_factory=dict)

    def unit(self, region: str, kind: str = "redis") -> str:
        return f"{self.folder.name}/{region}/{kind}"

    def act(self, verb: str, region: str, kind: str = "redis") -> None:
        self.supervisor.act(self.unit(region, kind), verb)

    def state(self, region: str, kind: str = "redis") -> dict[str, Any]:
        found: dict[str, Any] = self.supervisor.call("GET", f"/v1/processes/{self.unit(region, kind)}")
        return found

    def client(self, region: str, kind: str = "redis", seconds: float = 2) -> redis.Redis:
        """Give a client within the region, which no cut of its links concerns."""
        return redis.Redis(
            host=address(region, kind),
            port=PORTS[kind],
            password=PASSWORD,
            ssl=True,
            ssl_ca_certs=str(self.folder / "ca.crt"),
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
            decode_responses=True,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
        )

    def ask(self, region: str, *words: str, kind: str = "redis") -> Any:
        with contextlib.closing(self.client(region, kind)) as client:
            return client.execute_command(*words)  # type: ignore[no-untyped-call]

    def role(self, region: str) -> str:
        try:
            return str(self.ask(region, "ROLE")[0])
        except redis.RedisError:
            return "silent"

    def led_to(self, region: str) -> str:
        """Where a region's Sentinel leads its clients."""
        return str(self.ask(region, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", STORE, kind="sentinel")[0])

    def cut(self, *regions: str) -> None:
        """Cut every link over the border of a region."""
        for name_, (region, origin) in self.links.items():
            if (region in regions) != (origin in regions):
                self._proxy("POST", f"/proxies/{name_}", {"enabled": False})

    def cut_between(self) -> None:
        """Cut the links between the regions; the operator reaches both."""
        for name_, (_, origin) in self.links.items():
            if origin != "operator":
                self._proxy("POST", f"/proxies/{name_}", {"enabled": False})

    def cut_operator(self, region: str, *kinds: str) -> None:
        """Cut only the operator's way to some servers."""
        for kind in kinds:
            self._proxy("POST", f"/proxies/operator-{region}-{kind}", {"enabled": False})

    def heal(self) -> None:
        for name_ in self.links:
            self._proxy("POST", f"/proxies/{name_}", {"enabled": True})

    def _proxy(self, method: str, path: str, body: Any = None) -> None:
        with contextlib.closing(http.client.HTTPConnection(*PROXY, timeout=5)) as connection:
            connection.request(method, path, json.dumps(body) if body is not None else None)
            answer = connection.getresponse()
            assert answer.status < 300, answer.read()

    def start_links(self) -> None:
        host, port = PROXY
        name_ = f"{self.folder.name}/toxiproxy"
        self.supervisor.define(name_, self.programs["toxiproxy"], "-host", host, "-port", str(port))
        self.supervisor.act(name_, "start")
        rows = []
        for region in NUMBER:
            for kind, origin in (("redis", "operator"), ("sentinel", "operator"), ("ssh", "operator")):
                rows.append(self._link(region, kind, origin))
            rows += [self._link(region, kind, other(region)) for kind in ("redis", "sentinel")]

        def populated() -> bool:
            with contextlib.suppress(OSError):
                self._proxy("POST", "/populate", rows)
                return True
            return False

        eventually(populated)

    def _link(self, region: str, kind: str, origin: str) -> dict[str, Any]:
        name_ = f"{origin}-{region}-{kind}"
        self.links[name_] = (region, origin)
        port = PORTS[kind]
        return {
            "name": name_,
            "listen": f"{link(region, kind, origin)}:{port}",
            "upstream": f"{address(region, kind)}:{port}",
            "enabled": True,
        }

    def define(self) -> None:
        """Tell the supervisor of all servers, and open the hosts."""
        program = self.programs["redis-server"]
        root = program.parents[2]
        for region in NUMBER:
            folder = self.folder / region
            folder.mkdir(exist_ok=True)
            rows = [f"{address(region, kind)} {name(region, kind)}" for kind in ("redis", "sentinel")]
            far = other(region)
            rows += [f"{link(far, kind, region)} {name(far, kind)}" for kind in ("redis", "sentinel")]
            (folder / "hosts").write_text("\n".join(rows) + "\n")
            environment = {
                "LD_PRELOAD": str(self.programs["libnss_wrapper"]),
                "NSS_WRAPPER_HOSTS": str(folder / "hosts"),
                "LD_LIBRARY_PATH": str(root / "usr/lib/x86_64-linux-gnu") if root != Path("/") else "",
            }
            environment |= {"REDISCLI_AUTH": PASSWORD, "PATH": f"{program.parent}:/usr/bin:/bin"}
            guard = [folder / "guard", "--config", folder / "redis.conf", "--cacert", self.folder / "ca.crt"]
            guard += ["--local", f"{name(region)}:{PORTS['redis']}", "--peer", f"{name(far)}:{PORTS['redis']}"]
            shutil.copyfile(GUARD, folder / "guard")
            shell = '"$@" prepare; exec "$0" "$CONFIG"'
            words = ("/bin/sh", "-c", shell, program, "/bin/sh", *guard)
            self.supervisor.define(self.unit(region), *words, **environment, CONFIG=str(folder / "redis.conf"))
            self.supervisor.define(self.unit(region, "guard"), "/bin/sh", *guard, "watch", **environment)
            sentinel = (program, folder / "sentinel.conf", "--sentinel")
            self.supervisor.define(self.unit(region, "sentinel"), *sentinel, **environment)
            self.open_host(region)

    def open_host(self, region: str) -> None:
        keys = self.folder / "ssh"
        body = {
            "listen": f"{address(region, 'ssh')}:{PORTS['ssh']}",
            "host_key_file": str(keys / f"host-{region}"),
            "authorized_keys_file": str(keys / "authorized_keys"),
            "units": {"redis-server": self.unit(region), "recovery-redis-guard": self.unit(region, "guard")},
            "environment": {"PATH": "/usr/bin:/bin", "HOME": str(self.folder)},
        }
        self.supervisor.call("PUT", f"/v1/hosts/{self.folder.name}/{region}", body)

    def close_host(self, region: str) -> None:
        self.supervisor.call("DELETE", f"/v1/hosts/{self.folder.name}/{region}")

    def renew(self) -> None:
        """As new: the west is primary, the east follows, both Sentinels know all. Left alone if it is so."""
        self.heal()
        if self.well():
            return
        for region in NUMBER:
            self.open_host(region)
            for kind in ("guard", "redis", "sentinel"):
                self.act("kill", region, kind)
                self.act("unmask", region, kind)
            folder = self.folder / region
            for kind in ("redis", "sentinel"):
                shutil.rmtree(folder / kind, ignore_errors=True)
                (folder / kind).mkdir()
                (folder / f"{kind}.conf").write_text(configuration(self.folder, region, kind))
            identity.own(folder)
        for kind in ("redis", "sentinel"):
            for region in NUMBER:
                self.act("start", region, kind)
            eventually(lambda: self.role(WEST) == "master" and self.follows(EAST))
        for region in NUMBER:
            self.act("start", region, "guard")
        eventually(lambda: all(self.knows(region) for region in NUMBER))

    def well(self) -> bool:
        states = [self.state(region, kind) for region in NUMBER for kind in ("guard", "redis", "sentinel")]
        if any(one.get("state") != "running" or one.get("masked") for one in states):
            return False
        return self.role(WEST) == "master" and self.follows(EAST) and all(self.knows(region) for region in NUMBER)

    def follows(self, region: str) -> bool:
        with contextlib.suppress(redis.RedisError):
            return bool(self.ask(region, "INFO", "replication").get("master_link_status") == "up")
        return False

    def knows(self, region: str) -> bool:
        """Whether a Sentinel has seen both servers and the other Sentinel."""
        with contextlib.suppress(redis.RedisError):
            row = self.ask(region, "SENTINEL", "MASTER", STORE, kind="sentinel")
            seen = dict(zip(row[::2], row[1::2], strict=True))
            [replica] = self.ask(region, "SENTINEL", "REPLICAS", STORE, kind="sentinel")
            known = dict(zip(replica[::2], replica[1::2], strict=True))
            return bool(seen["runid"] and known["runid"] and known["flags"] == "slave" and seen["flags"] == "master")
        return False

    def described(self, **more: Any) -> dict[str, Any]:
        """Describe the store, as an operator would."""
        keys = self.folder / "ssh"
        members = {
            region: {
                "host": link(region, "redis"),
                "address": name(region),
                "config_file": str(self.folder / region / "redis.conf"),
                "fence": {
                    "host": link(region, "ssh"),
                    "port": PORTS["ssh"],
                    "user": lab_ssh.USER,
                    "identity_file": str(keys / lab_ssh.USER),
                    "known_hosts_file": str(keys / "known_hosts"),
                    "guard_unit": "recovery-redis-guard",
                    "sudo": False,
                },
            }
            for region in NUMBER
        }
        return {
            STORE: {
                "credentials": "redis",
                "ca_file": str(self.folder / "ca.crt"),
                "members": members,
                "sentinels": [{"host": link(region, "sentinel"), "region": region} for region in NUMBER],
                "objectives": {"rpo_seconds": 3600},
                **more,
            }
        }


def configuration(folder: Path, region: str, kind: str) -> str:
    data = folder / region / kind
    lines = [f"bind {address(region, kind)}", "port 0", f"tls-port {PORTS[kind]}", f"dir {data}"]
    lines += [f"tls-cert-file {folder}/server.crt", f"tls-key-file {folder}/server.key"]
    lines += [f"tls-ca-cert-file {folder}/ca.crt", "tls-auth-clients no", "tls-replication yes"]
    lines += [f"requirepass {PASSWORD}"]
    port = PORTS["redis"]
    if kind == "redis":
        lines += [f"masterauth {PASSWORD}", f"replica-announce-ip {name(region)}", f"replica-announce-port {port}"]
        lines += ["appendonly yes", 'save ""', "repl-diskless-sync-delay 0", "repl-ping-replica-period 1"]
        lines += ["repl-timeout 5"]
        if region == EAST:
            lines.append(f"replicaof {name(WEST)} {port}")
        return "\n".join(lines) + "\n"
    far = other(region)
    lines += [f"sentinel myid {IDS[region]}", f"sentinel sentinel-pass {PASSWORD}"]
    lines += ["sentinel resolve-hostnames yes", "sentinel announce-hostnames yes"]
    lines += [f"sentinel announce-ip {name(region, kind)}", f"sentinel announce-port {PORTS[kind]}"]
    lines += [f"sentinel monitor {STORE} {name(WEST)} {port} {redis_servers.QUORUM}"]
    lines += [f"sentinel auth-pass {STORE} {PASSWORD}", f"sentinel down-after-milliseconds {STORE} 1000"]
    lines += [f"sentinel known-replica {STORE} {name(EAST)} {port}"]
    lines += [f"sentinel known-sentinel {STORE} {name(far, kind)} {PORTS[kind]} {IDS[far]}"]
    return "\n".join(lines) + "\n"


def eventually(probe: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not probe():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def make_keys(folder: Path) -> None:
    """Make the operator's key, the hosts' keys, and one certificate for all names and addresses."""
    keys = folder / "ssh"
    public = {one: lab_ssh.make_key(keys / one) for one in (lab_ssh.USER, *(f"host-{region}" for region in NUMBER))}
    (keys / "authorized_keys").write_text(f"{public[lab_ssh.USER]}\n")
    known = [f"[{link(region, 'ssh')}]:{PORTS['ssh']} {public[f'host-{region}']}\n" for region in NUMBER]
    (keys / "known_hosts").write_text("".join(known))
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.crt")
    places = [name(region, kind) for region in NUMBER for kind in ("redis", "sentinel")]
    places += [
        one
        for region in NUMBER
        for kind in ("redis", "sentinel")
        for one in (address(region, kind), link(region, kind), link(region, kind, other(region)))
    ]
    issued = authority.issue_cert(*places)
    issued.private_key_pem.write_to_path(folder / "server.key")
    issued.cert_chain_pems[0].write_to_path(folder / "server.crt")
    identity.own(folder)
    # The operator's own: ssh takes no key of somebody else.
    os.chown(keys / lab_ssh.USER, os.geteuid(), os.getegid())


@contextlib.contextmanager
def running(folder: Path) -> Iterator[World]:
    """Run everything for the time of some tests."""
    folder.chmod(0o755)
    make_keys(folder)
    supervisor = Supervisor(folder)
    world = World(folder, supervisor, {**redis_servers.fetch(), **programs.find("small", print)})
    try:
        supervisor.start()
        world.start_links()
        world.define()
        yield world
    finally:
        supervisor.stop()
