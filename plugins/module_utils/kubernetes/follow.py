# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait by watch: feeds keep a picture of the cluster current, and the caller looks whenever it changes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from .client import JSON, METADATA, METADATA_LIST, ApiError, Client
from .transport import Deadline

T = TypeVar("T")

RECONNECT_SECONDS = 0.2
FORGOTTEN_SECONDS = 0.02
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
        self.items.clear()
        self.items.update(found)
        self.version = version
        self.listed = True

    def apply(self, event: str, item: dict[str, Any]) -> bool:
        """Take an event in. Gives True if the picture changed."""
        self.version = str(item["metadata"].get("resourceVersion") or self.version)
        parsed = None if event == "BOOKMARK" else self.parse(item)
        if parsed is None:
            return False
        name, value = parsed
        if event == "DELETED":
            self.items.pop(name, None)
        else:
            self.items[name] = value
        return True


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
    while not stop.is_set() and not deadline.passed():
        try:
            if not feed.version:
                found, version = feed.fetch(deadline)
                with news:
                    feed.replace(found, version)
                    news.notify_all()
            for event, item in feed.events(deadline):
                with news:
                    feed.trouble = None
                    if feed.apply(event, item):
                        news.notify_all()
                if stop.is_set():
                    return
        except ApiError as error:
            if error.reason == "gone":
                # The server has forgotten what came after our version: only a new list tells.
                feed.version = ""
            elif error.reason in HOPELESS:
                raise
            feed.trouble = error
            stop.wait(FORGOTTEN_SECONDS if error.reason == "gone" else RECONNECT_SECONDS)
