# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real canary process against an edge whose outages and losses are known."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.platform.recovery.plugins.module_utils import canary
from ansible_collections.platform.recovery.plugins.module_utils import canary_client as client
from ansible_collections.platform.recovery.plugins.module_utils.canary_analysis import (
    Attempt,
    find_loss,
    find_outage,
    read_attempts,
)
from ansible_collections.platform.recovery.plugins.module_utils.errors import BadInput, StepFailed, StepTimeout
from ansible_collections.platform.recovery.plugins.module_utils.waiting import wait_until

from .conftest import Edge, Starter

AGREEMENT = 0.05


def log(found: canary.Canary) -> list[Attempt]:
    return list(read_attempts(found.folder))


def writing(found: canary.Canary, count: int = 20) -> None:
    """Wait until so many more writes are acknowledged."""
    before = sum(attempt.acknowledged for attempt in log(found))
    wait_until(lambda: sum(a.acknowledged for a in log(found)) >= before + count, seconds=10, interval=0.01)


def reset(edge: Edge) -> Iterator[None]:
    edge.close()
    yield
    edge.open()


def failing(edge: Edge) -> Iterator[None]:
    edge.status = 503
    yield
    edge.status = 201


def hanging(edge: Edge) -> Iterator[None]:
    edge.release.clear()
    yield
    edge.release.set()


@pytest.mark.parametrize("seconds", [0.5, 2.0])
@pytest.mark.parametrize("fault", [reset, failing, hanging])
def test_a_known_outage_is_measured(
    edge: Edge, start: Starter, fault: Callable[[Edge], Iterator[None]], seconds: float
) -> None:
    found = start()
    writing(found)
    step = fault(edge)
    began = time.time()
    next(step)
    time.sleep(seconds - (time.time() - began))
    ended = time.time()
    next(step, None)
    writing(found)
    canary.stop(found.folder)
    outage = find_outage(log(found))
    assert outage.seconds == pytest.approx(ended - began, abs=AGREEMENT)
    assert outage.last_before is not None
    assert outage.last_before / 1e6 == pytest.approx(began, abs=AGREEMENT)
    assert outage.first_after is not None
    assert outage.first_after / 1e6 == pytest.approx(ended, abs=AGREEMENT)


def test_known_losses_are_reported_each_of_them(edge: Edge, start: Starter) -> None:
    found = start()
    writing(found, 60)
    canary.stop(found.folder)
    deleted = sorted(edge.rows)[5:45:10]
    for key in deleted:
        del edge.rows[key]
    loss = find_loss(log(found), found.prefix, lambda keys: [key for key in keys if key in edge.rows])
    assert sorted(str(entry["key"]) for entry in loss.keys) == deleted
    assert loss.checked == len(edge.rows) + len(deleted)


def test_a_conflict_is_neither_acknowledged_nor_lost(edge: Edge, start: Starter) -> None:
    edge.status = 409
    found = start()
    wait_until(lambda: len(log(found)) > 10, seconds=5)
    canary.stop(found.folder)
    writes = [attempt for attempt in log(found) if attempt.number]
    assert all(attempt.unknown and not attempt.acknowledged for attempt in writes)
    assert find_loss(writes, found.prefix, lambda _keys: []).lost == 0


def test_the_pace_holds_while_every_write_hangs(edge: Edge, start: Starter) -> None:
    edge.release.clear()
    found = start()
    time.sleep(1.5)
    edge.release.set()
    writing(found)
    canary.stop(found.folder)
    sent = [attempt.sent for attempt in sorted(log(found)) if attempt.number][:70]
    assert max(later - before for before, later in pairwise(sent)) < 150_000


def test_killed_it_leaves_a_readable_log_and_its_successor_goes_on_in_numbers(start: Starter) -> None:
    found = start()
    writing(found)
    os.kill(found.pid, signal.SIGKILL)
    wait_until(lambda: not found.running, seconds=5)
    path = found.folder / "writes.log"
    with path.open("ab") as file:
        file.write(b"000000000999 17950000")
    before = log(found)
    successor = start(prefix="another")
    assert (successor.prefix, successor.pid == found.pid) == (found.prefix, False)
    writing(successor)
    canary.stop(found.folder)
    numbers = [attempt.number for attempt in log(found) if attempt.number]
    assert len(numbers) == len(set(numbers))
    assert min(n for n in numbers[len(before) :]) > max(attempt.number for attempt in before)
    outage = find_outage(log(found))
    assert outage.seconds == 0.0


def test_one_canary_a_folder(edge: Edge, start: Starter) -> None:
    found = start()
    wish = canary.Wish(folder=found.folder, url=edge.url, service="user-service", prefix="x")
    again, attached = canary.start(wish)
    assert (again.pid, attached) == (found.pid, True)
    with pytest.raises(BadInput, match="Another canary"):
        canary.start(canary.Wish(folder=found.folder, url=edge.url, service="tenant-service", prefix="x"))


def test_it_outlives_its_starter_and_stops_in_three_ways(start: Starter) -> None:
    found = start()
    parent = int(Path(f"/proc/{found.pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    assert parent != os.getpid()
    assert os.getsid(found.pid) != os.getsid(0)
    os.kill(found.pid, signal.SIGTERM)
    wait_until(lambda: not found.running, seconds=3)
    assert canary.stop(found.folder) is None
    second = start()
    stopped = canary.stop(second.folder)
    assert stopped is not None
    assert not second.running
    third = start(max_seconds=0.5)
    wait_until(lambda: not third.running, seconds=4)


def test_small_and_quick_to_start(start: Starter) -> None:
    times = []
    for _ in range(5):
        begin = time.monotonic()
        found = start()
        times.append(time.monotonic() - begin)
        resident = next(
            int(line.split()[1])
            for line in Path(f"/proc/{found.pid}/status").read_text().splitlines()
            if line.startswith("VmRSS")
        )
        canary.stop(found.folder)
        assert resident < 20 * 1024
    assert min(times) < 0.5  # 0.06 s on a free machine; the limit is for one that is shared


def test_credentials_are_in_no_argument_list(edge: Edge, start: Starter) -> None:
    secret = "Bearer planted-5f1c"
    found = start(authorization=secret)
    writing(found)
    assert b"planted" not in Path(f"/proc/{found.pid}/cmdline").read_bytes()
    canary.stop(found.folder)
    assert set(edge.headers) == {secret}
    assert not any(b"planted" in path.read_bytes() for path in found.folder.iterdir() if path.is_file())
    with pytest.raises(BadInput, match="user or password"):
        start(url="http://me:secret@127.0.0.1:1")


@pytest.mark.parametrize(
    ("url", "parsed"),
    [
        ("http://h", (False, "h", 80, "")),
        ("https://h/base/", (True, "h", 443, "/base")),
        ("http://[::1]:8080", (False, "::1", 8080, "")),
    ],
)
def test_urls(url: str, parsed: tuple[bool, str, int, str]) -> None:
    assert client.parse_url(url) == parsed


@pytest.mark.parametrize("url", ["h:80", "ftp://h", "http://", "http://h:x", "http://u@h"])
def test_wrong_urls(url: str) -> None:
    with pytest.raises(ValueError, match="the url"):
        client.parse_url(url)


def test_recovery_is_awaited_and_its_absence_named(edge: Edge, start: Starter) -> None:
    found = start()
    writing(found)
    wait: dict[str, Any] = {"since": None, "until": None, "quiet": 0.0}
    outage, _elapsed = canary.await_recovery(found, after=canary.microseconds(time.time()), deadline=5, **wait)
    assert outage.seconds == 0.0
    edge.status = 503
    with pytest.raises(StepTimeout, match="acknowledged write"):
        canary.await_recovery(found, after=canary.microseconds(time.time() + 0.1), deadline=0.5, **wait)
    os.kill(found.pid, signal.SIGKILL)
    wait_until(lambda: not found.running, seconds=5)
    with pytest.raises(StepFailed, match="no longer runs"):
        canary.await_recovery(found, after=canary.microseconds(time.time()), deadline=5, **wait)


def test_quiet_is_awaited(edge: Edge, start: Starter) -> None:
    found = start()
    writing(found)
    edge.status = 503
    time.sleep(0.2)
    edge.status = 201
    begin = time.time()
    outage, _elapsed = canary.await_recovery(
        found, after=canary.microseconds(begin), since=None, until=None, deadline=5, quiet=0.5
    )
    assert time.time() - begin >= 0.5
    assert outage.seconds == pytest.approx(0.2, abs=AGREEMENT)
