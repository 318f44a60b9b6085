# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Edges are asked all at once, and whoever asked does not have to wait for them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ansible_collections.platform.recovery.plugins.module_utils import edge
from ansible_collections.platform.recovery.plugins.module_utils.waiting import wait_until

ANSWERS = {
    "/base/works": (200, {"database": {"host": "db.west", "in_recovery": False}}),
    "/base/bare": (200, ["no", "database"]),
    "/base/odd": (200, {"database": "db.west"}),
    "/base/fails": (503, {"error": "the database cannot be used"}),
    "/base/hangs": (503, {}),
}


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def url(release: threading.Event) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = ANSWERS[self.path]
            if self.path.endswith("hangs"):
                release.wait(30)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/base"
    release.set()
    server.shutdown()
    server.server_close()


def test_every_path_gets_its_answer(url: str) -> None:
    paths = ("/works", "/bare", "/odd", "/fails")
    found = edge.Survey([edge.Place("west", url, paths)], 30).answers(wait=True)["west"]
    assert [(health.path, health.status, health.database) for health in found] == [
        ("/works", 200, {"host": "db.west", "in_recovery": False}),
        ("/bare", 200, None),
        ("/odd", 200, None),
        ("/fails", 503, None),
    ]
    assert all(health.taken for health in found)


def test_one_that_hangs_is_taken_and_silent(url: str) -> None:
    survey = edge.Survey([edge.Place("west", url, ("/hangs",))], 30)
    wait_until(lambda: bool(survey._taken), seconds=30, interval=0.01)
    survey._deadline = time.monotonic()
    [found] = survey.answers(wait=True)["west"]
    assert (found.status, found.taken) == (None, True)
    assert "no answer" in (found.trouble or "")


def test_nobody_waits_who_needs_not(url: str, release: threading.Event) -> None:
    begin = time.monotonic()
    found = edge.Survey([edge.Place("west", url, ("/hangs",))], 30).answers(wait=False)["west"]
    assert time.monotonic() - begin < 20
    assert (found[0].taken, found[0].trouble) == (False, "not waited for")
    assert not release.is_set()


@pytest.mark.parametrize(
    ("place", "says"),
    [
        (edge.Place("west", "ftp://west", ("/a",)), "must start with http"),
        (edge.Place("west", "https://127.0.0.1:1", ("/a",), "/nowhere/ca.crt"), "nowhere"),
        (edge.Place("west", "http://127.0.0.1:1", ("/a",)), "refused"),
    ],
)
def test_an_edge_out_of_reach_is_an_answer(place: edge.Place, says: str) -> None:
    [found] = edge.Survey([place], 30).answers(wait=True)["west"]
    assert says in (found.trouble or "")
    assert (found.status, found.taken) == (None, False)


def test_no_edge_is_no_wait() -> None:
    assert edge.Survey([], 30).answers(wait=True) == {}
