# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An application's edge in a thread of this process, which can be made to fail at known times."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils import canary


class Edge:
    """Answers `POST …/rows` as the present `status` says; `held` requests wait for `release`."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.status = 201
        self._context = context
        self.rows: dict[str, float] = {}
        self.headers: list[str] = []
        self.release = threading.Event()
        self.release.set()
        self._connections: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.open()

    @property
    def url(self) -> str:
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}"

    def open(self) -> None:
        edge = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                edge._connections.add(self.connection)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                edge.headers.append(self.headers.get("Authorization", ""))
                edge.release.wait(30)
                status = edge.status
                if status == 201:
                    edge.rows[body["key"]] = time.time()
                answer = b"{}"
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_arguments: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 128

            def handle_error(self, *_arguments: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        if self._context:
            self._server.socket = self._context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.005,), daemon=True).start()

    def close(self) -> None:
        """Refuse connections and cut the open ones, as a dead server does."""
        if self._server is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._server = None
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self._connections.clear()


@pytest.fixture
def edge() -> Iterator[Edge]:
    edge = Edge()
    yield edge
    edge.release.set()
    edge.close()


Starter = Callable[..., canary.Canary]


@pytest.fixture
def start(edge: Edge, tmp_path: Path) -> Iterator[Starter]:
    """Start canaries against the edge; none outlives the test."""
    folder = tmp_path / "canary"

    def launch(**wish: Any) -> canary.Canary:
        wanted = {"folder": folder, "url": edge.url, "service": "user-service", "prefix": "t", "max_seconds": 120.0}
        return canary.start(canary.Wish(**{**wanted, **wish}))[0]

    yield launch
    found = canary.find(folder)
    if found and found.running:
        os.kill(found.pid, signal.SIGKILL)
