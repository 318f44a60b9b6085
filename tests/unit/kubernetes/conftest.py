# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real HTTP server on loopback that answers as a test scripts it."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.client import Client
from ansible_collections.platform.recovery.plugins.module_utils.kubernetes.kubeconfig import load


@dataclass(frozen=True)
class Request:
    """What the server was asked."""

    method: str
    path: str
    query: str
    body: Any
    headers: dict[str, str]


@dataclass(frozen=True)
class Reply:
    """What it answers. `lines` are sent as a chunked stream; `hang` keeps the connection open after them."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    lines: tuple[Any, ...] | None = None
    hang: bool = False
    drop: bool = False


Script = Callable[[Request], Reply]


@dataclass
class FakeApi:
    """The server, its script, and what it was asked so far."""

    folder: Path
    script: Script = lambda _: Reply(500)
    requests: list[Request] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    port: int = 0
    connections: int = 0

    def kubeconfig(self, name: str = "kubeconfig", **user: Any) -> str:
        """Write a kubeconfig for it."""
        path = self.folder / name
        content = {
            "clusters": [{"name": "fake", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "me", "user": user or {"token": "t0ken"}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "me"}}],
            "current-context": "fake",
        }
        path.write_text(yaml.safe_dump(content))
        return str(path)

    def client(self, **more: Any) -> Client:
        """Open a client to it."""
        return Client("fake", load(self.kubeconfig()), **more)

    def asked(self, method: str) -> list[Request]:
        """Give the requests of a method."""
        return [request for request in self.requests if request.method == method]


@contextmanager
def serving(folder: Path) -> Iterator[FakeApi]:
    """Run a server."""
    folder.mkdir(exist_ok=True)
    api = FakeApi(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            api.connections += 1
            super().setup()

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            path, _, query = self.path.partition("?")
            body = json.loads(self.rfile.read(length)) if length else None
            request = Request(self.command, path, query, body, dict(self.headers.items()))
            api.requests.append(request)
            reply = api.script(request)
            if reply.drop:
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.lines is None:
                data = json.dumps(reply.body if reply.body is not None else {}).encode()
                self.send_header("Content-Length", str(len(data) + (1 if reply.hang else 0)))
                self.end_headers()
                self.wfile.write(data)
            else:
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for line in reply.lines:
                    data = json.dumps(line).encode() + b"\n"
                    self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                self.wfile.flush()
            if reply.hang:
                api.release.wait(10)
                self.close_connection = True
            elif reply.lines is not None:
                self.wfile.write(b"0\r\n\r\n")

        do_GET = do_PATCH = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    api.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield api
    api.release.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeApi]:
    with serving(tmp_path) as api:
        yield api


@pytest.fixture
def fakes(tmp_path: Path) -> Iterator[Callable[[], FakeApi]]:
    """Give as many servers as are asked for."""
    numbers = itertools.count()
    with ExitStack() as stack:
        yield lambda: stack.enter_context(serving(tmp_path / f"server-{next(numbers)}"))


def deployment(name: str = "user-service", **more: Any) -> dict[str, Any]:
    """Write a Deployment that is rolled out, as the API gives it."""
    replicas = more.get("replicas", 2)
    env = more.get(
        "env", [{"name": "SERVICE", "value": name}, {"name": "DB_HOST", "value": more.get("host", "db.west")}]
    )
    return {
        "metadata": {
            "name": name,
            "namespace": "production",
            "uid": f"uid-{name}",
            "resourceVersion": more.get("version", "7"),
            "generation": more.get("generation", 1),
            "annotations": more.get("annotations", {}),
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"spec": {"containers": [{"name": "app", "env": env}], **more.get("pod", {})}},
            **more.get("spec", {}),
        },
        "status": {
            "observedGeneration": more.get("generation", 1),
            "replicas": replicas,
            "updatedReplicas": replicas,
            "readyReplicas": replicas,
            "availableReplicas": replicas,
            **more.get("status", {}),
        },
    }


def listing(*items: Any, version: str = "10", token: str = "") -> Reply:
    """Answer a list."""
    return Reply(body={"metadata": {"resourceVersion": version, "continue": token}, "items": list(items)})
