# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Do many calls at once, on many clusters, with a bound for each."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TypeVar

from .client import ApiError

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")

# Measured: see tests/benchmarks/bench_workloads.py. A TLS handshake costs about as much CPU as a patch, so a connection
# has to earn it by several calls, and an API server gains nothing from more of them than this.
CALLS_PER_CONNECTION = 4


def connections_for(calls: int, concurrency: int) -> int:
    """Give the number of connections that pays for so many calls to one cluster."""
    return max(1, min(concurrency, -(-calls // CALLS_PER_CONNECTION)))


def grouped(keys: Iterable[K], cluster: Callable[[K], str]) -> dict[str, list[K]]:
    """Sort keys by their cluster, each once."""
    groups: dict[str, list[K]] = {}
    for key in dict.fromkeys(keys):
        groups.setdefault(cluster(key), []).append(key)
    return groups


def run_all(groups: Mapping[str, Iterable[K]], work: Callable[[K], R], *, concurrency: int) -> dict[K, R | ApiError]:
    """Call `work` for every key; each group (a cluster) has workers of its own, so a slow one delays no other.

    An ApiError becomes that key's result. Anything else is a defect: it ends the others and is raised.
    The threads are daemons: an interrupted controller does not wait for them.
    """
    results: dict[K, R | ApiError] = {}
    defects: list[BaseException] = []

    def drain(queue: deque[K]) -> None:
        while not defects:
            try:
                key = queue.popleft()
            except IndexError:
                return
            try:
                results[key] = work(key)
            except ApiError as error:
                results[key] = error
            except BaseException as error:  # carried over to the calling thread below
                defects.append(error)

    threads = []
    for name, keys in groups.items():
        queue = deque(keys)
        for number in range(connections_for(len(queue), concurrency) if queue else 0):
            threads.append(threading.Thread(target=drain, args=(queue,), name=f"{name}-{number}", daemon=True))
    for thread in threads[1:]:
        thread.start()
    if threads:
        threads[0].run()
    for thread in threads[1:]:
        # An interrupt that reached this thread is passed on at once; the others end by themselves.
        if not defects:
            thread.join()
    if defects:
        raise defects[0]
    return results
