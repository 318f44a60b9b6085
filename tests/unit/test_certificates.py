# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates as real servers show them and as files hold them, and what they come to."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from ansible_collections.platform.recovery.plugins.module_utils import certificates
from ansible_collections.platform.recovery.plugins.module_utils.certificates import DAY, Held, Place
from ansible_collections.platform.recovery.plugins.module_utils.readiness import Check, Checklist

NOW = datetime.datetime(2026, 11, 29, tzinfo=datetime.timezone.utc).timestamp()


def issued(authority: trustme.CA, days: float) -> Any:
    now = datetime.datetime.now(datetime.timezone.utc)
    # One that has expired was good once.
    return authority.issue_cert(
        "localhost", not_before=now - datetime.timedelta(days=90), not_after=now + datetime.timedelta(days=days)
    )


@contextmanager
def server(certificate: Any, *, postgresql: bool = False) -> Iterator[Place]:
    """Speak TLS to one client after another."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                if postgresql:
                    connection.recv(8)
                    connection.sendall(b"S")
                try:
                    context.wrap_socket(connection, server_side=True).close()
                except OSError:
                    continue

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield Place("server", "localhost", listener.getsockname()[1], "127.0.0.1", postgresql)
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def look(place: Place, days: float = 14) -> Check:
    return certificates.served_check(place, days, datetime.datetime.now(datetime.timezone.utc).timestamp(), 5)


@pytest.mark.parametrize("postgresql", [False, True])
@pytest.mark.parametrize(("days", "verdict"), [(30, "ready"), (5, "not_ready"), (-3, "not_ready")])
def test_the_certificate_that_a_server_shows(postgresql: bool, days: float, verdict: str) -> None:
    with server(issued(trustme.CA(), days), postgresql=postgresql) as place:
        found = look(place)
    assert found.verdict == verdict, found
    assert ("expired" in found.observed) == (days < 0)


def test_nobody_there_is_unknown_and_not_ready() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert look(Place("server", "localhost", port, "127.0.0.1")).verdict == "unknown"


def test_of_several_certificates_in_a_file_the_first_to_end_decides() -> None:
    authority = trustme.CA()
    pems = [issued(authority, days).cert_chain_pems[0].bytes() for days in (100, 3)]
    now = datetime.datetime.now(datetime.timezone.utc).timestamp()
    [good] = certificates.held_checks(Held("file", pems[0]), 14, now)
    [bad] = certificates.held_checks(Held("file", b"".join(pems)), 14, now)
    [none] = certificates.held_checks(Held("file", b"-----BEGIN CERTIFICATE-----\nx\n"), 14, now)
    assert [check.verdict for check in (good, bad, none)] == ["ready", "not_ready", "not_ready"]


@pytest.mark.parametrize(("left", "verdict"), [(14.5, "ready"), (13.5, "not_ready"), (-1.0, "not_ready")])
def test_the_threshold_is_days(left: float, verdict: str) -> None:
    assert certificates.judged(Checklist("platform", "x"), NOW + left * DAY, 14, NOW).verdict == verdict


def test_an_authority_that_is_not_there_is_named(tmp_path: Path) -> None:
    member = {
        "host": "db",
        "port": 5432,
        "address": None,
        "sslmode": "verify-full",
        "sslrootcert": str(tmp_path / "ca"),
    }
    platform = {
        "databases": {"db": {"members": {"west": {**member, "host": "127.0.0.1", "port": 1}}}},
        "edges": {"west": {"url": "http://edge"}},
        "zones": {},
        "clusters": {},
        "canary": None,
    }
    found = certificates.checks(platform, [], 14, 1)
    assert {check.subject: check.verdict for check in found} == {
        f"file {tmp_path / 'ca'}": "not_ready",
        "postgresql of db in west": "unknown",
    }
