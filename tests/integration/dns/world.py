# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small world of real servers: the lab's AWS API, name servers that answer from it, a resolver, Knot, two edges."""

from __future__ import annotations

import contextlib
import http.server
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import dns.flags
import dns.message
import dns.query

from recovery_lab import aws_server, fetched

ZONE, DYNAMIC = "test.example", "dynamic.test.example"
WEST, EAST = "us-west-2", "us-east-1"
VALUES = {WEST: "127.5.1.80", EAST: "127.5.2.80"}
API, RESOLVER, KNOT = "127.5.0.52", "127.5.0.53", "127.5.0.56"
AUTHORITIES = {WEST: "127.5.1.54", EAST: "127.5.2.54"}
PORT, EDGE_PORT = 5353, 8080
TTL = 2
KEY = "c2VjcmV0LW9mLXRoZS10ZXN0cw=="
MANY = [f"n{number:03}.{ZONE}" for number in range(500)]


def record(name: str, *values: str, kind: str = "A", ttl: int = TTL, **more: Any) -> dict[str, Any]:
    rows = [{"Value": value} for value in values]
    return {"Name": f"{name}.", "Type": kind, "TTL": ttl, "ResourceRecords": rows, **more}


def pair(name: str) -> list[dict[str, Any]]:
    """A failover record set of both regions."""
    roles = {WEST: "PRIMARY", EAST: "SECONDARY"}
    return [
        record(name, VALUES[region], SetIdentifier=region, HealthCheckId=region, Failover=role)
        for region, role in roles.items()
    ]


def seed() -> dict[str, Any]:
    check = {"Type": "HTTP", "Port": EDGE_PORT, "ResourcePath": "/healthz", "RequestInterval": 1, "FailureThreshold": 1}
    checks = {region: {**check, "IPAddress": address} for region, address in VALUES.items()}
    alias = {"DNSName": f"app.{ZONE}.", "EvaluateTargetHealth": True}
    weights = {WEST: 100, EAST: 0}
    records = [
        record(ZONE, f"ns.{ZONE}. host.{ZONE}. 1 7200 900 1209600 2", kind="SOA"),
        record(ZONE, f"ns.{ZONE}.", kind="NS"),
        record(f"ns.{ZONE}", AUTHORITIES[WEST]),
        record(f"plain.{ZONE}", VALUES[WEST]),
        {"Name": f"alias.{ZONE}.", "Type": "A", "AliasTarget": alias},
        *(
            record(f"share.{ZONE}", VALUES[region], SetIdentifier=region, HealthCheckId=region, Weight=weight)
            for region, weight in weights.items()
        ),
        *(one for name in [f"app.{ZONE}", *MANY] for one in pair(name)),
    ]
    return {"health_checks": checks, "zones": {ZONE: records}}


class Edge(http.server.ThreadingHTTPServer):
    """A region's edge, as ill as a test wants it."""

    daemon_threads = True

    def __init__(self, address: str) -> None:
        self.status = 200

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(handler: Any) -> None:  # noqa: N805
                handler.send_response(self.status)
                handler.send_header("Content-Length", "0")
                handler.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nobody reads it."""

        super().__init__((address, EDGE_PORT), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


@dataclass
class World:
    """All of it."""

    folder: Path
    programs: dict[str, Path]
    edges: dict[str, Edge] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def endpoint(self) -> str:
        return f"http://{API}:5000"

    def start(self, name: str, *words: str | Path, **environment: str) -> None:
        # Dies with pytest, however pytest dies.
        guard = [shutil.which("setpriv") or "", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        command = [*guard, *map(str, words)]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={"PATH": "/usr/bin:/bin", **environment}
            )

    def start_api(self) -> None:
        """The AWS API; what was stored before is there again."""
        data = self.folder / "api"
        data.mkdir(exist_ok=True)
        (self.folder / "seed.json").write_text(json.dumps(seed()))
        words = ("--host", API, "--port", "5000", "--data", data, "--seed", self.folder / "seed.json")
        self.start("api", sys.executable, aws_server.__file__, *words)
        eventually(lambda: bool(self.get("/lab/route53?after=0")))

    def end(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def get(self, path: str) -> Any:
        try:
            with urllib.request.urlopen(self.endpoint + path, timeout=10) as response:
                return json.loads(response.read())
        except OSError:
            return None

    def throttle(self, seconds: float) -> None:
        self.get(f"/lab/throttle?seconds={seconds}")

    def freeze(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGCONT)

    def route53(self) -> Any:
        """A client as anybody has one, beside ours."""
        keys = {"aws_access_key_id": "outside", "aws_secret_access_key": "outside", "region_name": "us-east-1"}
        return boto3.client("route53", endpoint_url=self.endpoint, **keys)

    def zone_id(self) -> str:
        return str(self.route53().list_hosted_zones_by_name(DNSName=ZONE)["HostedZones"][0]["Id"])

    def stored(self, name: str) -> list[dict[str, Any]]:
        """The record sets of a name, straight from the API's own memory."""
        records = self.get("/lab/route53?after=0")["zones"][0]["records"]
        return [one for one in records if one["Name"] == f"{name}."]

    def version(self) -> int:
        return int(self.get("/lab/route53?after=0")["version"])


def ask(server: str, name: str, kind: str = "A") -> list[str]:
    """What any client would be told."""
    response = dns.query.udp(dns.message.make_query(name, kind), server, timeout=3, port=PORT)
    return sorted(item.to_text() for rrset in response.answer for item in rrset)


def eventually(probe: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not probe():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def answers(server: str, name: str) -> bool:
    try:
        return bool(ask(server, name))
    except (OSError, dns.exception.DNSException):
        return False


@contextlib.contextmanager
def running(folder: Path) -> Iterator[World]:
    """Run everything for the time of a test session."""
    world = World(folder, fetched.find("full", print))
    try:
        for region, address in VALUES.items():
            world.edges[region] = Edge(address)
        world.start_api()
        for region, address in AUTHORITIES.items():
            words = ("-listen", f"{address}:{PORT}", "-feed", world.endpoint, "-state", folder / f"{region}.json")
            world.start(region, world.programs["lab-authority"], *words)
        start_resolver(world)
        start_knot(world)
        for server, name in ((AUTHORITIES[WEST], MANY[0]), (AUTHORITIES[EAST], MANY[0]), (RESOLVER, f"app.{ZONE}")):
            eventually(lambda server=server, name=name: answers(server, name))  # type: ignore[misc]
        eventually(lambda: answers(KNOT, f"app.{DYNAMIC}"))
        yield world
    finally:
        for edge in world.edges.values():
            edge.shutdown()
        for name in list(world.processes):
            world.end(name)


def start_resolver(world: World) -> None:
    zones = {ZONE: list(AUTHORITIES.values()), DYNAMIC: [KNOT]}
    text = ""
    for zone, servers in zones.items():
        relay = " ".join(f"{server}:{PORT}" for server in servers)
        text += (
            f"{zone}:{PORT} {{\nbind {RESOLVER}\ncache {{\nsuccess 9984 86400 0\nservfail 0\n}}\nrelay {relay}\n}}\n"
        )
    path = world.folder / "Corefile"
    path.write_text(text)
    world.start("resolver", world.programs["coredns"], "-conf", path, "-quiet")


def start_knot(world: World) -> None:
    folder = world.folder / "knot"
    (folder / "db").mkdir(parents=True, exist_ok=True)
    rows = [
        f"{DYNAMIC}. {TTL} SOA ns.{DYNAMIC}. host.{DYNAMIC}. 1 3600 600 86400 2",
        f"{DYNAMIC}. {TTL} NS ns.{DYNAMIC}.",
    ]
    names = ["app", *(f"n{number:03}" for number in range(150))]
    rows += [f"{name}.{DYNAMIC}. {TTL} A {VALUES[WEST]}" for name in names]
    (folder / "zone").write_text("\n".join(rows) + "\n")
    sections = {
        "server": [f"rundir: {folder}", f"listen: {KNOT}@{PORT}", "udp-workers: 1", "tcp-workers: 2"],
        "database": [f"storage: {folder}/db", *(f"{name}-db-max-size: 10M" for name in ("journal", "kasp", "timer"))],
        "log": ["- target: stderr", "  any: info"],
        "key": ["- id: operator", "  algorithm: hmac-sha256", f"  secret: {KEY}"],
        "acl": ["- id: operator", "  key: operator", "  action: update"],
        "zone": [f"- domain: {DYNAMIC}", f"  storage: {folder}", "  file: zone", "  acl: operator"],
    }
    rows = [line for name, lines in sections.items() for line in (f"{name}:", *(f"  {one}" for one in lines))]
    (folder / "knot.conf").write_text("\n".join(rows) + "\n")
    program = world.programs["knotd"]
    root = program.parents[2]
    libraries = ":".join(str(root / name) for name in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"))
    environment = {"LD_LIBRARY_PATH": libraries} if root != Path("/") else {}
    world.start("knot", program, "-c", folder / "knot.conf", **environment)


def zones(*names: str, provider: str = "route53_health_checks", **more: Any) -> dict[str, Any]:
    """Describe the zone and these names of it."""
    targets = {
        region: {"values": [value], "probe": f"http://{value}:{EDGE_PORT}/healthz"} for region, value in VALUES.items()
    }
    common = {
        "provider": provider,
        "credentials": "key",
        "targets": targets,
        "records": [{"name": name} for name in names],
        "resolvers": [{"address": RESOLVER, "port": PORT}],
    }
    if provider == "rfc2136":
        return {DYNAMIC: {**common, "rfc2136": {"address": KNOT, "port": PORT}, **more}}
    servers = [{"address": address, "port": PORT, "region": region} for region, address in AUTHORITIES.items()]
    return {ZONE: {**common, "servers": servers, "route53": {"endpoint_url": f"http://{API}:5000"}, **more}}


def credentials(provider: str = "") -> dict[str, Any]:
    if provider == "rfc2136":
        return {"key": {"user": "operator", "password": KEY}}
    return {"key": {"user": "AKIAPLANTED", "password": "planted-secret-access-key"}}
