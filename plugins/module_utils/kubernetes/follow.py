# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait by watch: feeds keep a picture of the cluster current, and the caller looks whenever it changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from .client import JSON, METADATA, METADATA_LIST, ApiError, Client
from .transport import Deadline

K = TypeVar("K")
T = TypeVar("T")

# A stream that ends at once is not asked for in a tight loop, and a server in trouble is asked less and less often.
RECONNECT_SECONDS = 0.2
LONGEST_RECONNECT_SECONDS = 1.0
FORGOTTEN_SECONDS = 0.02
# After so many failures in a row the version itself may be what the server cannot serve: a new list is consistent.
FAILURES_BEFORE_LIST = 3
HOPELESS = {"forbidden", "invalid", "not_found"}


@dataclass
class Feed(Generic[T]):
    """One collection of one cluster. `parse` gives (name, value), or None for what is of no interest.

    An empty `version` means that the feed begins with a list of its own.
    """

    client: Client
    path: str
    doing: str
    parse: Callable[[dict[str, Any]], tuple[str, T] | None]
    items: dict[str, T]
    version: str = ""
    query: dict[str, str] = field(default_factory=dict)
    metadata_only: bool = False
    listed: bool = False
    changed: set[str] = field(default_factory=set)
    trouble: ApiError | None = None
    fatal: Exception | None = None

    def fetch(self, deadline: Deadline) -> tuple[list[tuple[str, T]], str]:
        """Ask for a full list and its version."""
        accept = METADATA_LIST if self.metadata_only else JSON
        return self.client.list(
            self.path, self.parse, deadline=deadline, doing=self.doing, query=self.query, accept=accept
        )

    def events(self, deadline: Deadline) -> Iterator[tuple[str, dict[str, Any]]]:
        """Ask for what comes after the version."""
        accept = METADATA if self.metadata_only else JSON
        return self.client.watch(
            self.path, self.version, deadline=deadline, doing=self.doing, query=self.query, accept=accept
        )

    def replace(self, found: list[tuple[str, T]], version: str) -> None:
        """Take a full list in."""
        self.changed.update(self.items)
        self.items.clear()
        self.items.update(found)
        self.changed.update(self.items)
        self.version = version
        self.listed = True

    def apply(self, event: str, item: dict[str, Any]) -> bool:
        """Take an event in. Gives True if the picture changed."""
        self.version = str(item["metadata"].get("resourceVersion") or self.version)
        parsed = None if event == "BOOKMARK" else self.parse(item)
        if parsed is None:
            return False
        name, value = parsed
        self.changed.add(name)
        if event == "DELETED":
            self.items.pop(name, None)
        else:
            self.items[name] = value
        return True


def changes(feeds: Mapping[K, Feed[T]]) -> Iterator[tuple[K, str, T | None]]:
    """Give each entry that changed since the last call, with None for one that is gone.

    What is done at an event must cost by what changed, not by what is watched.
    """
    for key, feed in feeds.items():
        while feed.changed:
            name = feed.changed.pop()
            yield key, name, feed.items.get(name)


def follow(
    feeds: Sequence[Feed[Any]],
    done: Callable[[], bool],
    *,
    deadline: Deadline,
    settled: Callable[[], bool] | None = None,
) -> bool:
    """Keep the feeds current until `done` (called under their lock, after every change) or the deadline.

    `settled` is a last, costlier question that may itself ask the server; it is asked while `done` holds.
    Gives True if both held. Raises what makes it pointless to wait on, such as a missing right.
    """
    news = threading.Condition()
    stop = threading.Event()
    with news:
        if all(feed.listed for feed in feeds) and done() and (settled is None or settled()):
            return True
    for number, feed in enumerate(feeds):
        threading.Thread(
            target=_keep_current, args=(feed, news, stop, deadline), name=f"watch-{number}", daemon=True
        ).start()
    try:
        while not deadline.passed():
            with news:
                for feed in feeds:
                    if feed.fatal:
                        raise feed.fatal
                complete = all(feed.listed for feed in feeds) and done()
                if not complete:
                    news.wait(min(1.0, deadline.remaining()))
                    continue
            if settled is None or settled():
                return True
            stop.wait(0.02)
        return False
    finally:
        stop.set()
        for client in {feed.client.name: feed.client for feed in feeds}.values():
            client.interrupt()


def _keep_current(feed: Feed[Any], news: threading.Condition, stop: threading.Event, deadline: Deadline) -> None:
    try:
        _watch_on(feed, news, stop, deadline)
    except TimeoutError:
        return
    except Exception as error:  # a thread must not die in silence: the waiting one raises it
        with news:
            feed.fatal = error
            news.notify_all()


def _watch_on(feed: Feed[Any], news: threading.Condition, stop: threading.Event, deadline: Deadline) -> None:
    failures = 0
    while not stop.is_set() and not deadline.passed():
        begin = time.monotonic()
        try:
            if not feed.version:
                found, version = feed.fetch(deadline)
                with news:
                    feed.trouble = None
                    feed.replace(found, version)
                    news.notify_all()
            for event, item in feed.events(deadline):
                with news:
                    feed.trouble = None
                    if feed.apply(event, item):
                        news.notify_all()
                if stop.is_set():
                    return
                failures = 0
            feed.trouble, failures = None, 0
            stop.wait(max(0.0, begin + RECONNECT_SECONDS - time.monotonic()))
        except ApiError as error:
            if error.reason in HOPELESS:
                raise
            failures += 1
            if error.reason == "gone" or failures % FAILURES_BEFORE_LIST == 0:
                # The server has forgotten what came after our version: only a new list tells.
                feed.version = ""
            feed.trouble = error
            forgotten = error.reason == "gone" and failures == 1
            stop.wait(FORGOTTEN_SECONDS if forgotten else reconnect_after(failures))


def reconnect_after(failures: int) -> float:
    """Give the pause after so many failures in a row."""
    return min(LONGEST_RECONNECT_SECONDS, RECONNECT_SECONDS * 2.0 ** (failures - 1))
