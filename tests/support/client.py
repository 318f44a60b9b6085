# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of its own kind, against which the canary's figures are held: asyncio, a task a write."""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
import time
from dataclasses import dataclass, field

import aiohttp
import aiohttp.abc
import dns.message
import dns.query

PACE_SECONDS = 0.02
# A write that hangs must not keep the next ones from being tried, or its time-out would be measured as outage.
MOST_UNDER_WAY = 60


class Names(aiohttp.abc.AbstractResolver):
    """Asks one resolver, and believes it for as long as its TTL says."""

    def __init__(self, resolver: tuple[str, int]) -> None:
        self._resolver = resolver
        self._known: dict[str, tuple[str, float]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        """Give where a name leads to: an address of IPv4, whatever was asked for."""
        del family
        address, until = self._known.get(host, ("", 0.0))
        if time.monotonic() >= until:
            question = dns.message.make_query(host, "A")
            where, port_of_it = self._resolver
            answer = await asyncio.to_thread(dns.query.udp, question, where, timeout=1, port=port_of_it)
            if not answer.answer:
                raise OSError(f"{host} has no address")
            address, until = answer.answer[-1][0].to_text(), time.monotonic() + answer.answer[-1].ttl
            self._known[host] = address, until
        row = {"hostname": host, "host": address, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}
        return [aiohttp.abc.ResolveResult(**row)]  # type: ignore[typeddict-item]

    async def close(self) -> None:
        """Nothing is open."""


@dataclass
class Client:
    """Starts a write every 20 ms through an edge, and remembers what was acknowledged and when."""

    url: str
    prefix: str
    service: str = "user-service"
    resolver: tuple[str, int] | None = None
    acknowledged: dict[str, float] = field(default_factory=dict)
    failed: list[float] = field(default_factory=list)

    def __enter__(self) -> Client:
        self._end = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._write()), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(10)

    def wait_for(self, count: int, seconds: float = 30) -> None:
        """Wait until so many more writes are acknowledged."""
        wanted = len(self.acknowledged) + count
        deadline = time.monotonic() + seconds
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < deadline, f"{len(self.acknowledged)} of {wanted} writes acknowledged"
            time.sleep(0.02)

    def outage(self) -> float:
        """Give the longest time without an acknowledged write, in seconds."""
        stamps = sorted(self.acknowledged.values())
        return max((after - before for before, after in itertools.pairwise(stamps)), default=0.0)

    async def _write(self) -> None:
        timeout = aiohttp.ClientTimeout(total=1)
        names = {"resolver": Names(self.resolver), "use_dns_cache": False} if self.resolver else {}
        connector = aiohttp.TCPConnector(limit=MOST_UNDER_WAY, **names)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            under_way: set[asyncio.Task[None]] = set()
            for number in itertools.count(1):
                if self._end.is_set():
                    break
                if len(under_way) < MOST_UNDER_WAY:
                    task = asyncio.create_task(self._one(session, f"{self.prefix}-{number:06d}"))
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
                await asyncio.sleep(PACE_SECONDS)
            await asyncio.gather(*under_way)

    async def _one(self, session: aiohttp.ClientSession, key: str) -> None:
        try:
            address = f"{self.url}/v1/{self.service}/rows"
            async with session.post(address, json={"key": key, "value": "x"}) as response:
                good = response.status == 201
        except (aiohttp.ClientError, asyncio.TimeoutError):
            good = False
        if good:
            self.acknowledged[key] = time.time()
        else:
            self.failed.append(time.time())
