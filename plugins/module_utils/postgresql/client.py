# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions with deadlines of our own.

libpq's connect timeout knows whole seconds from 2 up and there is none for a statement: a frozen server would hold a
recovery for ever. In psycopg2's asynchronous mode we wait ourselves, so a silent server costs exactly the deadline.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from ..errors import BadInput, StepFailed
from .model import Cause, Credentials, Member

try:
    import psycopg2
    import psycopg2.extensions
except ImportError:  # said by require_psycopg2, when it is needed
    psycopg2 = None  # type: ignore[assignment]

APPLICATION_NAME = "platform.recovery"
# How a port shows that nobody listens there. One that is merely silent may belong to a host that is cut off and lives,
# or to a frozen server; one that accepts and says nothing, to a proxy, or to a server that is still going down.
REFUSES = "the port refuses"
TLS_REQUEST = struct.pack("!ii", 8, 80877103)
SESSION_OPTIONS = "-c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c bytea_output=hex -c lc_messages=C"

# Before a session exists libpq gives no SQLSTATE, only words.
WORDS: tuple[tuple[str, Cause], ...] = (
    ("connection refused", "refused"),
    ("password authentication failed", "authentication"),
    ("no password supplied", "authentication"),
    ("authentication failed", "authentication"),
    ("no pg_hba.conf entry", "authentication"),
    ("does not exist", "authentication"),
    ("not permitted to log in", "authentication"),
    ("starting up", "starting"),
    ("not yet accepting connections", "starting"),
    ("not accepting connections", "starting"),
    ("recovery mode", "starting"),
    ("shutting down", "lost"),
    ("server closed the connection", "lost"),
    ("connection reset", "lost"),
    ("eof detected", "lost"),
    ("certificate", "tls"),
    ("ssl", "tls"),
    ("no route to host", "refused"),
    ("unreachable", "refused"),
)
STATES: dict[str, Cause] = {
    "53100": "disk_full",
    "58030": "disk_full",
    "25006": "read_only",
    "42501": "permission",
    "57P01": "lost",
    "57P02": "lost",
    "57P03": "starting",
    "28P01": "authentication",
    "28000": "authentication",
    "57014": "timeout",
}


class ServerError(StepFailed):
    """A server could not be asked, or refused what was asked. `cause` says which."""

    def __init__(self, member: Member, cause: Cause, detail: str) -> None:
        super().__init__(f"{member.name}: {detail}", member=member.name, cause=cause, detail=detail)
        self.cause = cause
        self.detail = detail


def require_psycopg2() -> None:
    """Say what to install where the driver is missing."""
    if psycopg2 is None:
        raise BadInput(
            "The Python package psycopg2 is missing in the Python that runs Ansible",
            next_action="install psycopg2-binary (or the system's python3-psycopg2) there and run again",
        )


def classify(error: Exception) -> Cause:
    """Find out why a server refused, from its state code or else from libpq's words."""
    code = getattr(error, "pgcode", None)
    if code:
        return STATES.get(code, "other")
    text = str(error).lower()
    return next((cause for words, cause in WORDS if words in text), "other")


def shorten(error: Exception) -> str:
    """Give the first line of an error, without libpq's preamble."""
    lines = str(error).strip().splitlines()
    first = lines[0] if lines else type(error).__name__
    for marker in ("FATAL:", "ERROR:", "failed:"):
        _, found, rest = first.rpartition(marker)
        if found:
            first = rest
    return first.strip() or type(error).__name__


class Session:
    """One connection to one member, reused for all that an action asks of it."""

    def __init__(
        self,
        member: Member,
        credentials: Credentials,
        database: str = "postgres",
        *,
        connect_seconds: float = 1.5,
        statement_seconds: float = 1.5,
    ) -> None:
        require_psycopg2()
        self.member = member
        self.credentials = credentials
        self.database = database
        self.connect_seconds = connect_seconds
        self.statement_seconds = statement_seconds
        self._connection: Any = None

    def __enter__(self) -> Session:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def is_open(self) -> bool:
        """Say whether the connection can be used."""
        return self._connection is not None and not self._connection.closed

    def open(self) -> Session:
        """Connect within the deadline."""
        deadline = time.monotonic() + self.connect_seconds
        address = self.member.address or self._resolve(self.connect_seconds)
        try:
            self._connection = psycopg2.connect(
                host=self.member.host,
                hostaddr=address,
                port=self.member.port,
                user=self.credentials.user,
                password=self.credentials.password,
                dbname=self.database,
                sslmode=self.member.sslmode,
                sslrootcert=self.member.sslrootcert,
                gssencmode="disable",
                application_name=APPLICATION_NAME,
                options=SESSION_OPTIONS,
                async_=1,
            )
            self._wait(deadline, self.connect_seconds)
        except psycopg2.Error as error:
            self.close()
            raise self._explained(error) from None
        return self

    def close(self) -> None:
        """Let the connection go, whatever its state."""
        if self._connection is not None:
            with contextlib.suppress(Exception):
                self._connection.close()
            self._connection = None

    def rows(
        self, statement: str, values: Sequence[Any] = (), *, seconds: float | None = None
    ) -> list[tuple[Any, ...]]:
        """Run a statement within the deadline and give its rows."""
        if not self.is_open:
            self.open()
        limit = self.statement_seconds if seconds is None else seconds
        deadline = time.monotonic() + limit
        try:
            cursor = self._connection.cursor()
            cursor.execute(statement, tuple(values) or None)
            self._wait(deadline, limit)
            return list(cursor.fetchall()) if cursor.description else []
        except psycopg2.Error as error:
            raise self._explained(error) from None

    def value(self, statement: str, values: Sequence[Any] = (), *, seconds: float | None = None) -> Any:
        """Run a statement and give the first value of its first row."""
        rows = self.rows(statement, values, seconds=seconds)
        return rows[0][0] if rows else None

    def run(self, statement: str, values: Sequence[Any] = (), *, seconds: float | None = None) -> None:
        """Run a statement that gives nothing back."""
        self.rows(statement, values, seconds=seconds)

    def _wait(self, deadline: float, limit: float) -> None:
        connection = self._connection
        while True:
            state = connection.poll()
            if state == psycopg2.extensions.POLL_OK:
                return
            left = deadline - time.monotonic()
            events = select.POLLIN if state == psycopg2.extensions.POLL_READ else select.POLLOUT
            poller = select.poll()
            poller.register(connection.fileno(), events)
            if left <= 0 or not poller.poll(left * 1000):
                # The answer may still come: the connection cannot be used for another question.
                self.close()
                raise ServerError(self.member, "timeout", f"no answer within {limit:g} s at {self.member.endpoint}")

    def _resolve(self, seconds: float) -> str:
        """Look the name up in a thread: the resolver has no deadline of its own."""
        found: list[str] = []

        def look_up() -> None:
            with contextlib.suppress(OSError):
                answers = socket.getaddrinfo(self.member.host, self.member.port, type=socket.SOCK_STREAM)
                found.append(str(answers[0][4][0]))

        thread = threading.Thread(target=look_up, daemon=True)
        thread.start()
        thread.join(seconds)
        if not found:
            raise ServerError(self.member, "name", f"the name {self.member.host} has no address here")
        return found[0]

    def _explained(self, error: Exception) -> ServerError:
        cause = classify(error)
        detail = shorten(error)
        if self.credentials.password:
            detail = detail.replace(self.credentials.password, "***")
        if self._connection is not None and self._connection.closed:
            self._connection = None
        words = {
            "refused": f"connection refused at {self.member.endpoint}",
            "authentication": f"the login of {self.credentials.user} was refused: {detail}",
            "tls": f"the TLS connection was refused: {detail}",
            "starting": f"the server is starting up at {self.member.endpoint}",
            "lost": f"the server closed the connection at {self.member.endpoint}",
            "disk_full": f"the disk of the server is full or failing: {detail}",
        }
        return ServerError(self.member, cause, words.get(cause, detail))


def port_refuses(member: Member, seconds: float) -> tuple[bool, str]:
    """Say whether no PostgreSQL answers at the member's port, and how that shows.

    A connection alone proves nothing: a proxy in between accepts it for a server that is gone. A server answers the
    request for TLS with one byte, whether it has TLS or not.
    """
    try:
        with socket.create_connection((member.address or member.host, member.port), timeout=seconds) as connection:
            connection.sendall(TLS_REQUEST)
            if connection.recv(1):
                return False, "the port answers"
            return True, "nobody answers behind the port"
    except TimeoutError:
        return True, "the port is silent"
    except ConnectionResetError:
        return True, "nobody answers behind the port"
    except OSError:
        return True, REFUSES
