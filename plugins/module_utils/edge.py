# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the edges, as a client would, how the services behind them stand with their database.

All requests go out at once and nobody has to wait for them: whoever asked takes what is there when it decides. An edge
without ready pods may take its time to say so, and in most failures the server's own channels are quicker.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from .canary_client import parse_url, tls_context

MAX_REQUESTS = 32
MAX_BYTES = 64 * 1024


@dataclass(frozen=True)
class Place:
    """An edge, and the paths at which its services answer for their health."""

    name: str
    url: str
    paths: tuple[str, ...]
    ca_file: str | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Place:
        """Read it from validated options."""
        return cls(options["name"], options["url"], tuple(options["paths"]), options.get("ca_file"))


@dataclass(frozen=True)
class Health:
    """What came back for one path: a status, what a healthy service says of its database, or why nothing came."""

    path: str
    status: int | None = None
    database: Mapping[str, Any] | None = None
    trouble: str | None = None
    taken: bool = False
    """Whether the edge took the request. One that did not says nothing of what is behind it."""


class Survey:
    """Requests under way to all edges."""

    def __init__(self, places: Sequence[Place], seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._seconds = seconds
        self._places = places
        self._found: dict[tuple[str, str], Health] = {}
        self._taken: set[tuple[str, str]] = set()
        self._changed = threading.Condition()
        self._waiting: queue.SimpleQueue[tuple[Place, str]] = queue.SimpleQueue()
        asked = [(place, path) for place in places for path in place.paths]
        for item in asked:
            self._waiting.put(item)
        for _ in range(min(MAX_REQUESTS, len(asked))):
            # Nobody waits for a daemon: what is still under way when the action ends is forgotten.
            threading.Thread(target=self._work, daemon=True).start()

    def answers(self, *, wait: bool) -> dict[str, list[Health]]:
        """Give what every edge answered; with `wait` not before all have, or their time is over."""
        asked = [(place.name, path) for place in self._places for path in place.paths]
        with self._changed:
            if wait:
                left = max(0.0, self._deadline - time.monotonic())
                self._changed.wait_for(lambda: len(self._found) == len(asked), left)
            found = dict(self._found)
        silent = f"no answer within {self._seconds:g} s" if wait else "not waited for"
        nothing = {key: Health(key[1], trouble=silent, taken=wait and key in self._taken) for key in asked}
        return {
            place.name: [found.get((place.name, path), nothing[place.name, path]) for path in place.paths]
            for place in self._places
        }

    def _work(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                place, path = self._waiting.get_nowait()
                key = (place.name, path)
                health = ask(place, path, self._deadline, partial(self._taken.add, key))
                with self._changed:
                    self._found[key] = health
                    self._changed.notify_all()


def ask(place: Place, path: str, deadline: float, tell_taken: Callable[[], None]) -> Health:
    """Ask for the health of one service. Whatever goes wrong is an answer."""
    taken = False
    try:
        with contextlib.closing(connect(place, deadline)) as connection:
            base = parse_url(place.url)[3]
            connection.request("GET", base + path, headers={"User-Agent": "platform-recovery", "Connection": "close"})
            taken = True
            tell_taken()
            connection.sock.settimeout(left(deadline))
            answer = connection.getresponse()
            return Health(path, answer.status, database_in(answer.read(MAX_BYTES)), taken=True)
    except TimeoutError:
        return Health(path, trouble="no answer in time", taken=taken)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return Health(path, trouble=getattr(error, "strerror", None) or str(error) or type(error).__name__)


def connect(place: Place, deadline: float) -> http.client.HTTPConnection:
    """Connect to an edge within the time that is left."""
    tls, host, port, _base = parse_url(place.url)
    connection = http.client.HTTPConnection(host, port, timeout=left(deadline))
    if tls:
        context = tls_context(place.ca_file)
        connection = http.client.HTTPSConnection(host, port, timeout=left(deadline), context=context)
    connection.connect()
    return connection


def left(deadline: float) -> float:
    """Give the seconds left. Raises TimeoutError."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def database_in(body: bytes) -> Mapping[str, Any] | None:
    """Give what a service says of the database that it works with, if it says so."""
    with contextlib.suppress(ValueError, AttributeError):
        database = json.loads(body).get("database")
        return database if isinstance(database, dict) else None
    return None
