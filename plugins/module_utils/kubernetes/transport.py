# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One keep-alive HTTP/1.1 connection whose every byte has a deadline.

`http.client.HTTPConnection` knows a time-out per read only: a server that trickles, or freezes after its headers, can
hold it for ever. Here each request carries the moment at which it must be over.
"""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any, cast

from .kubeconfig import Endpoint

CONNECT_SECONDS = 2.0
# Where the operator allows more for a whole request, the way there is long or the machine slow: this share is for it.
CONNECT_SHARE = 5


class ConnectTimeout(TimeoutError):
    """No connection came about in time. That may be a packet lost or a moment's stall, so it is worth a second try."""


@dataclass(frozen=True)
class Deadline:
    """A moment of the monotonic clock."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Give the moment so many seconds from now."""
        return cls(time.monotonic() + seconds)

    def left(self) -> float:
        """Give the seconds left, or raise TimeoutError."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        return left

    def remaining(self) -> float:
        """Give the seconds left, never less than zero."""
        return max(0.0, self.at - time.monotonic())

    def passed(self) -> bool:
        """Say whether it is over."""
        return time.monotonic() >= self.at

    def sooner(self, seconds: float) -> Deadline:
        """Give this moment or the one so many seconds from now, whichever comes first."""
        return Deadline(min(self.at, time.monotonic() + seconds))


class Connection:
    """A socket, plain or TLS, that HTTPResponse can read from."""

    def __init__(self, endpoint: Endpoint, deadline: Deadline, seconds: float = CONNECT_SECONDS) -> None:
        self.deadline = deadline.sooner(seconds)
        self.used = False
        try:
            self._sock = self._connected(endpoint)
        except TimeoutError as failure:
            raise ConnectTimeout(str(failure)) from None

    def _connected(self, endpoint: Endpoint) -> socket.socket:
        sock = socket.create_connection((endpoint.host, endpoint.port), timeout=self.deadline.left())
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if endpoint.tls:
                sock.settimeout(self.deadline.left())
                return endpoint.tls.wrap_socket(sock, server_hostname=endpoint.tls_name)
        except BaseException:
            sock.close()
            raise
        return sock

    def send(self, request: bytes, method: str, deadline: Deadline) -> HTTPResponse:
        """Send a whole request at once (one TLS record, one packet) and read the answer's head."""
        self.deadline = deadline
        self._sock.settimeout(deadline.left())
        self._sock.sendall(request)
        self.used = True
        response = HTTPResponse(cast(socket.socket, self), method=method)
        response.begin()
        return response

    def makefile(self, mode: str, *_: Any) -> io.BufferedReader:
        """Give HTTPResponse its reader."""
        del mode
        return io.BufferedReader(_Reader(self), 65536)

    def receive_into(self, buffer: Any) -> int:
        """Read what is there, no later than the deadline."""
        self._sock.settimeout(self.deadline.left())
        return self._sock.recv_into(buffer)

    def interrupt(self) -> None:
        """End a read that another thread waits in."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()


class _Reader(io.RawIOBase):
    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._connection.receive_into(buffer)


def encode(method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
    """Write a request down. Header values come from us and from a kubeconfig: a line break in one is refused."""
    lines = [f"{method} {target} HTTP/1.1"]
    for name, value in headers.items():
        if "\r" in value or "\n" in value:
            raise ValueError(f"header {name} holds a line break")
        lines.append(f"{name}: {value}")
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")
