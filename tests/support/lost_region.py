# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A region that is gone: every address by which the operator's place reaches it takes connections, and says nothing.

That is the worst that a lost region can do to a run, for whoever connects waits to its own deadline. And it counts for
everybody, Python or not: libpq, ssh and whatever else a step starts have to come through the same doors.
"""

from __future__ import annotations

import json
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType

from ansible_collections.platform.recovery.plugins.module_utils import clock
from recovery_lab import addresses
from tests.support.platform import Ended, lab

# What the first bytes of a client give away.
OPENINGS = (
    (b"SSH-", "ssh"),
    (b"\x00\x00\x00\x08\x04\xd2\x16\x2f", "postgresql"),
    (b"\x16\x03", "tls"),
    (b"GET ", "http"),
    (b"POST ", "http"),
)


@dataclass
class Attempt:
    """One connection to the lost region: when it came, to which server, its first words, and how long it stayed."""

    at: float
    server: str
    said: bytes = b""
    ended_at: float | None = None

    @property
    def protocol(self) -> str:
        """Name what spoke."""
        return next((name for opening, name in OPENINGS if self.said.startswith(opening)), "nothing")

    @property
    def seconds(self) -> float:
        """Say how long it was waited for an answer."""
        return (self.ended_at or time.time()) - self.at


@dataclass
class LostRegion:
    """The doors of a region, open to nobody."""

    region: str
    attempts: list[Attempt] = field(default_factory=list)

    def __enter__(self) -> LostRegion:
        self._selector = selectors.DefaultSelector()
        self._wake, self._end = socket.socketpair()
        self._selector.register(self._end, selectors.EVENT_READ, None)
        for server, (host, port) in doors(self.region).items():
            listener = socket.create_server((host, port), backlog=128)
            listener.setblocking(False)
            self._selector.register(listener, selectors.EVENT_READ, server)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wake.send(b"x")
        self._thread.join(10)
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()
        self._wake.close()

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    return
                if isinstance(key.data, str):
                    self._take(key.fileobj, key.data)  # type: ignore[arg-type]
                else:
                    self._hear(key.fileobj, key.data)  # type: ignore[arg-type]

    def _take(self, listener: socket.socket, server: str) -> None:
        connection, _ = listener.accept()
        connection.setblocking(False)
        attempt = Attempt(time.time(), server)
        self.attempts.append(attempt)
        self._selector.register(connection, selectors.EVENT_READ, attempt)

    def _hear(self, connection: socket.socket, attempt: Attempt) -> None:
        try:
            data = connection.recv(4096)
        except ConnectionError:
            data = b""
        if data:
            attempt.said = (attempt.said + data)[:64]
            return
        attempt.ended_at = time.time()
        self._selector.unregister(connection)
        connection.close()

    def by_phase(self, ended: Ended) -> dict[str, list[Attempt]]:
        """Sort the attempts by the phase of a run in which they came."""
        starts = [
            (clock.parse(record["time"]), str(record["data"]["phase"]))
            for record in ended.journal
            if record["event"] == "phase_started"
        ]
        found: dict[str, list[Attempt]] = {}
        for attempt in self.attempts:
            phase = next((name for at, name in reversed(starts) if at <= attempt.at), "before")
            found.setdefault(phase, []).append(attempt)
        return found


def doors(region: str) -> dict[str, tuple[str, int]]:
    """Give the operator's ways into a region, by what is behind them."""
    found = {}
    for server in json.loads(lab("status", "--json"))["servers"]:
        kind = server["kind"]
        if server["region"] == region and kind in addresses.LINKED:
            host = addresses.link_address(addresses.OPERATOR, region, kind)
            found[kind] = (host, addresses.PLACES[kind][1])
            if kind == "postgresql":
                found["ssh"] = (host, addresses.SSH_PORT)
    return found


@contextmanager
def lost(region: str) -> Iterator[LostRegion]:
    """Take a region away for everybody outside of it, and watch its doors."""
    lab("break", "isolate", region)
    with LostRegion(region) as watched:
        yield watched
