# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small world to validate: an application with its stores behind an edge that can be ill, and a name server."""

from __future__ import annotations

import contextlib
import http.server
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.message
import dns.query

from recovery_lab import dns_dynamic, programs

ADDRESS, DNS = "127.6.1.80", "127.6.0.53"
PORT, DNS_PORT = 8080, 5353
ZONE = "test.example"
NAME = f"app.{ZONE}"
URL = f"http://{NAME}:{PORT}"
RESOLVER = {"address": DNS, "port": DNS_PORT}


@dataclass
class Illness:
    """What is wrong with the application."""

    seconds: float = 0.0
    status: int = 0
    drops_every: int = 0
    lost_stores: set[str] = field(default_factory=set)
    event_after: float = 0.0
    forgets: bool = False


class Application(http.server.ThreadingHTTPServer):
    """Rows as the lab's application has them, in memory."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: str) -> None:
        self.ill = Illness()
        self.rows: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str]] = []
        self.authorizations: set[str | None] = set()
        super().__init__((address, PORT), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_: Any) -> None:
        """Who goes away is nobody to tell."""


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as well as the application is."""

    server: Application
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.is_ill():
            return
        key = self.path.rpartition("/")[2]
        row = self.server.rows.get(key)
        if row is None:
            self.say(404, {"error": "no row has this key"})
            return
        ill = self.server.ill
        stores: dict[str, Any] = {
            "session": {"id": row["id"]},
            "event": {"offset": row["id"]},
            "file": {"version_id": "v"},
        }
        for name in ill.lost_stores:
            stores[name] = {"error": "gone"}
        if time.monotonic() - row["at"] < ill.event_after:
            stores["event"] = None
        said = {**row, **stores}
        self.say(200, {**said, "value": "another"} if ill.forgets else said)

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length))
        if self.is_ill():
            return
        row = {**body, "id": len(self.server.rows) + 1, "at": time.monotonic()}
        self.server.rows[body["key"]] = row
        self.say(201, row)

    def is_ill(self) -> bool:
        self.server.asked.append((str(self.headers["Host"]), self.path))
        self.server.authorizations.add(self.headers["Authorization"])
        ill = self.server.ill
        time.sleep(ill.seconds)
        if ill.drops_every and len(self.server.asked) % ill.drops_every == 0:
            self.close_connection = True
            return True
        if ill.status:
            self.say(ill.status, {"error": "the database cannot be used"})
        return bool(ill.status)

    def say(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


@dataclass
class World:
    """All of it."""

    app: Application
    vegeta: Path


@contextlib.contextmanager
def running(folder: Path) -> Iterator[World]:
    """Run everything for the time of a test session."""
    known = programs.manifest()["vegeta"]
    app = Application(ADDRESS)
    server = start_dns(folder)
    try:
        yield World(app, programs.build(known, known.name, print))
    finally:
        server.kill()
        server.wait()
        app.shutdown()


def start_dns(folder: Path) -> subprocess.Popen[bytes]:
    program = dns_dynamic.fetch()["knotd"]
    (folder / "db").mkdir(parents=True)
    rows = [
        f"{ZONE}. 1 SOA ns.{ZONE}. host.{ZONE}. 1 3600 600 86400 1",
        f"{ZONE}. 1 NS ns.{ZONE}.",
        f"{NAME}. 1 A {ADDRESS}",
    ]
    (folder / "zone").write_text("\n".join(rows) + "\n")
    sections = {
        "server": [f"rundir: {folder}", f"listen: {DNS}@{DNS_PORT}", "udp-workers: 1", "tcp-workers: 2"],
        "database": [f"storage: {folder}/db", *(f"{name}-db-max-size: 10M" for name in ("journal", "kasp", "timer"))],
        "zone": [f"- domain: {ZONE}", f"  storage: {folder}", "  file: zone"],
    }
    lines = [line for name, some in sections.items() for line in (f"{name}:", *(f"  {one}" for one in some))]
    (folder / "knot.conf").write_text("\n".join(lines) + "\n")
    root = program.parents[2]
    libraries = ":".join(str(root / name) for name in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"))
    environment = {"PATH": "/usr/bin:/bin"} | ({"LD_LIBRARY_PATH": libraries} if root != Path("/") else {})
    with (folder / "knot.log").open("ab") as log:
        server = subprocess.Popen([program, "-c", folder / "knot.conf"], env=environment, stdout=log, stderr=log)
    deadline = time.monotonic() + 20
    while not answers():
        assert time.monotonic() < deadline, (folder / "knot.log").read_text()
        time.sleep(0.05)
    return server


def answers() -> bool:
    with contextlib.suppress(OSError, dns.exception.DNSException):
        return bool(dns.query.udp(dns.message.make_query(NAME, "A"), DNS, timeout=1, port=DNS_PORT).answer)
    return False
