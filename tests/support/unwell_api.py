# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster's API that is unwell: a proxy before the real one answers 429, 500 or 503, resets, or says nothing."""

from __future__ import annotations

import http.client
import random
import socket
import ssl
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

STATUSES = {"429": 429, "500": 500, "503": 503}
KINDS = (*STATUSES, "reset", "half_open")
# Headers that belong to one connection only.
OWN = ("connection", "transfer-encoding", "keep-alive", "content-length")
MOST_BYTES = 65536


@dataclass
class UnwellApi:
    """Stands before the API that a kubeconfig names. A share of all requests meets one of these kinds of trouble."""

    kubeconfig: Path
    kinds: tuple[str, ...]
    share: float
    seed: int
    # Cut off once that many requests had trouble, for a fault that passes. None: it stays.
    most: int | None = None
    troubled: int = 0
    asked: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> UnwellApi:
        self.document = yaml.safe_load(self.kubeconfig.read_text())
        place = self.document["clusters"][0]["cluster"]
        self.upstream = urlsplit(place["server"])
        self.context = ssl.create_default_context(cafile=place["certificate-authority"])
        self._random = random.Random(self.seed)
        self._over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def write(self, path: Path) -> Path:
        """Write the kubeconfig of whoever is to meet the trouble."""
        host, port = self._server.server_address[:2]
        self.document["clusters"][0]["cluster"] = {"server": f"http://{host!s}:{port}"}
        path.write_text(yaml.safe_dump(self.document))
        path.chmod(0o600)
        return path

    def trouble(self) -> str:
        """Choose what meets the next request; empty for none."""
        with self.lock:
            self.asked += 1
            if (self.most is not None and self.troubled >= self.most) or self._random.random() >= self.share:
                return ""
            self.troubled += 1
            return self._random.choice(self.kinds)

    def silence(self) -> None:
        """Say nothing until it is over."""
        self._over.wait()


def _handler(api: UnwellApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            trouble = api.trouble()
            self.close_connection = True
            if trouble in STATUSES:
                self.refuse(STATUSES[trouble])
            elif trouble == "reset":
                self.reset()
            elif trouble == "half_open":
                api.silence()
            else:
                with suppress(OSError, http.client.HTTPException):
                    self.forward(body)

        def refuse(self, status: int) -> None:
            words = b'{"kind":"Status","status":"Failure","message":"unwell on purpose"}'
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(words)))
            self.send_header("Connection", "close")
            if status == 429:
                self.send_header("Retry-After", "1")
            self.end_headers()
            self.wfile.write(words)

        def reset(self) -> None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

        def forward(self, body: bytes) -> None:
            upstream = http.client.HTTPSConnection(
                str(api.upstream.hostname), api.upstream.port, context=api.context, timeout=60
            )
            headers = {name: value for name, value in self.headers.items() if name.lower() not in (*OWN, "host")}
            try:
                upstream.request(self.command, self.path, body or None, headers)
                self.pass_on(upstream.getresponse())
            finally:
                upstream.close()

        def pass_on(self, response: http.client.HTTPResponse) -> None:
            """Pass on what comes as it comes, for a watch never ends by itself."""
            self.send_response(response.status)
            for name, value in response.getheaders():
                if name.lower() not in OWN:
                    self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            while part := response.read1(MOST_BYTES):
                self.wfile.write(part)
                self.wfile.flush()

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

    return Handler
