# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The canary's own view of a name: one resolver, its TTL, and nothing else. A real server of one question answers."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import dns.message
import dns.rrset
import pytest

from ansible_collections.platform.recovery.plugins.module_utils import canary_client as client

NAME = "app.example.com"


class Resolver:
    """Answers by UDP with what it is told to, and counts."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, int]] = [("A", "127.0.0.1", 1)]
        self.asked: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            data, peer = self._socket.recvfrom(4096)
            if not data:
                return
            question = dns.message.from_wire(data)
            self.asked.append(question.question[0].name.to_text())
            answer = dns.message.make_response(question)
            for kind, value, ttl in self.rows:
                answer.answer.append(dns.rrset.from_text(question.question[0].name, ttl, "IN", kind, value))
            self._socket.sendto(answer.to_wire(), peer)

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join(5)
        self._socket.close()


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    found = Resolver()
    yield found
    found.close()


def soon() -> float:
    return time.monotonic() + 1


def test_an_answer_is_believed_until_its_ttl_is_over(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    names = client.Names(NAME, "127.0.0.1", resolver.port)
    assert names.address(soon()) == names.address(soon()) == "127.0.0.1"
    assert resolver.asked == [f"{NAME}."]
    resolver.rows = [("A", "127.0.0.2", 1)]
    later = time.monotonic() + 1.001
    monkeypatch.setattr(client.time, "monotonic", lambda: later)
    assert names.address(later + 1) == "127.0.0.2"


def test_the_first_address_behind_an_alias_is_taken(resolver: Resolver) -> None:
    resolver.rows = [("CNAME", "edge.example.net.", 60), ("A", "127.0.0.3", 7)]
    assert client.Names(NAME, "127.0.0.1", resolver.port).address(soon()) == "127.0.0.3"


def test_a_name_without_an_address_is_no_connection(resolver: Resolver) -> None:
    resolver.rows = [("AAAA", "::1", 60)]
    with pytest.raises(ValueError, match="no address"):
        client.Names(NAME, "127.0.0.1", resolver.port).address(soon())


def test_a_silent_resolver_costs_the_time_of_a_write() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        with pytest.raises(TimeoutError):
            client.Names(NAME, "127.0.0.1", silent.getsockname()[1]).address(time.monotonic() + 0.05)


@pytest.mark.parametrize(("text", "place"), [("127.0.0.53:5353", ("127.0.0.53", 5353)), ("9.9.9.9", ("9.9.9.9", 53))])
def test_a_resolver_is_given_with_its_port(text: str, place: tuple[str, int]) -> None:
    assert client.parse_place(text) == place


@pytest.mark.parametrize("text", ["", "host:", "host:dns"])
def test_a_resolver_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="address:port"):
        client.parse_place(text)
