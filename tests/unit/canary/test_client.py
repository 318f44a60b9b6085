# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real canary process against an edge whose outages and losses are known."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trustme

from ansible_collections.platform.recovery.plugins.module_utils import canary
from ansible_collections.platform.recovery.plugins.module_utils import canary_client as client
from ansible_collections.platform.recovery.plugins.module_utils.canary_analysis import (
    Attempt,
    find_loss,
    find_outage,
    last_acknowledged,
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


def test_under_a_service_manager_it_stays_in_the_foreground(edge: Edge, tmp_path: Path) -> None:
    wish = canary.Wish(folder=tmp_path, url=edge.url, service="user-service", prefix="t", max_seconds=0.3)
    argv = [sys.executable, client.__file__, *wish.arguments(), "--foreground"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=20)
    assert json.loads(done.stdout)["attached"] is False
    assert edge.rows


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
    for place in ("cmdline", "environ"):
        assert b"planted" not in Path(f"/proc/{found.pid}/{place}").read_bytes()
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
    time.sleep(1.2)
    with pytest.raises(StepTimeout, match="acknowledged write") as caught:
        canary.await_recovery(found, after=canary.microseconds(time.time() + 0.1), deadline=0.5, **wait)
    assert str(caught.value.observed).startswith("the last 50 writes until 2")
    assert str(caught.value.observed).endswith("Z: 503")
    assert found.url in str(caught.value.next_action)
    os.kill(found.pid, signal.SIGKILL)
    wait_until(lambda: not found.running, seconds=5)
    with pytest.raises(StepFailed, match=r"no longer runs.*503.*Next: start it again"):
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


def test_a_full_disk_costs_no_line_while_memory_lasts(edge: Edge, start: Starter) -> None:
    found = start()
    writing(found)
    path = found.folder / "writes.log"
    unlimited = resource.prlimit(found.pid, resource.RLIMIT_FSIZE)
    # In the middle of a line: the write that meets the limit is a short one.
    limit = path.stat().st_size + 5 * client.LINE_BYTES + 30
    resource.prlimit(found.pid, resource.RLIMIT_FSIZE, (limit, unlimited[1]))
    time.sleep(0.4)
    edge.status = 503
    time.sleep(0.4)
    edge.status = 201
    time.sleep(0.2)
    assert path.stat().st_size <= limit
    resource.prlimit(found.pid, resource.RLIMIT_FSIZE, unlimited)
    writing(found)
    canary.stop(found.folder)
    lines = log(found)
    assert path.stat().st_size == len(lines) * client.LINE_BYTES
    assert {f"t-{line.number}" for line in lines if line.acknowledged} == set(edge.rows)
    assert find_outage(lines).seconds == pytest.approx(0.4, abs=0.3)


def test_what_a_full_disk_and_memory_could_not_take_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "KEPT_BYTES", 3 * client.LINE_BYTES)
    journal = client.Log(str(tmp_path), client.Clock(), 0)
    journal.append(1, 10, b"201", 11)
    write = os.write

    def full(_fd: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(client.os, "write", full)
    for number in range(2, 8):
        journal.append(number, number * 10, b"201", number * 10 + 1)
    monkeypatch.setattr(client.os, "write", write)
    journal.append(8, 80, b"201", 81)  # there is still no room for it when it comes: it makes some
    journal.append(9, 90, b"201", 91)
    lines = [(attempt.number, attempt.sent, attempt.answered, attempt.status) for attempt in read_attempts(tmp_path)]
    assert [line[0] for line in lines] == [1, 2, 3, 4, 0, 9]
    assert lines[4] == (0, 51, 91, b"missed")


def test_a_clock_line_that_comes_late_still_tells_the_right_shift(tmp_path: Path) -> None:
    journal = client.Log(str(tmp_path), client.Clock(), 0)
    journal.append(1, 10, b"201", 400)  # another thread was quicker
    journal.append_clock(5_000_000, 89)
    assert [(line.sent - line.answered, line.answered) for line in read_attempts(tmp_path)][-1] == (
        5_000_000,
        5_000_400,
    )
    assert client.last_shift(str(tmp_path)) == 5_000_000


def test_a_log_that_cannot_be_turned_grows_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = client.Log(str(tmp_path), client.Clock(), 3 * client.LINE_BYTES)
    with monkeypatch.context() as patch:
        opened = os.open
        patch.setattr(
            client.os,
            "open",
            lambda path, *rest: opened(path, *rest) if os.path.exists(path) else opened("/dev/full/x", 0),
        )
        for number in range(1, 7):
            journal.append(number, number, b"201", number)
    for number in range(7, 9):
        journal.append(number, number, b"201", number)
    assert [attempt.number for attempt in read_attempts(tmp_path)] == list(range(1, 9))


@contextmanager
def inside(edge: Edge, folder: Path, *more: str) -> Iterator[client.Canary]:
    """Run a canary in a thread of this process, so that its clocks can be set."""
    folder.mkdir(exist_ok=True)
    arguments = ["--url", edge.url, "--service", "user-service", "--folder", str(folder), *more]
    number, stamp = client.last_line(str(folder))
    bird = client.Canary(client.parse(arguments)[0], number, stamp)
    thread = threading.Thread(target=bird.run)
    thread.start()
    try:
        yield bird
    finally:
        bird.stop.set()
        thread.join()


@pytest.mark.parametrize("step", [-5.0, 5.0])
def test_a_step_of_the_wall_clock_moves_all_stamps_and_bends_no_duration(
    edge: Edge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    real, ahead = time.time_ns, [0]
    monkeypatch.setattr(client.time, "time_ns", lambda: real() + ahead[0])
    with inside(edge, tmp_path / "c"):
        time.sleep(0.3)
        edge.status = 503
        time.sleep(0.3)
        ahead[0] = int(step * 1e9)
        time.sleep(0.3)
        edge.status = 201
        time.sleep(0.3)
    outage = find_outage(read_attempts(tmp_path / "c"))
    assert outage.seconds == pytest.approx(0.6, abs=AGREEMENT)
    assert f"set by {step:+.1f}"[:-1] in outage.how
    with inside(edge, tmp_path / "c"):  # its successor goes on in the same time
        time.sleep(0.3)
    lines = list(read_attempts(tmp_path / "c"))
    assert all(earlier.answered <= later.answered for earlier, later in pairwise(lines))
    last = last_acknowledged(tmp_path / "c")
    assert last is not None
    assert last / 1e6 == pytest.approx(real() / 1e9 + step, abs=0.2)
    again = find_outage(lines)
    assert again.seconds == outage.seconds


def test_a_successor_never_writes_stamps_before_those_it_found(
    edge: Edge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with inside(edge, tmp_path / "c"):
        time.sleep(0.2)
    real = time.time_ns
    monkeypatch.setattr(client.time, "time_ns", lambda: real() - 3600 * 10**9)
    with inside(edge, tmp_path / "c"):
        time.sleep(0.2)
    lines = list(read_attempts(tmp_path / "c"))
    assert all(earlier.answered <= later.answered for earlier, later in pairwise(lines))
    assert lines[-1].answered / 1e6 == pytest.approx(real() / 1e9 - 3600, abs=0.2)


def test_a_suspended_machine_is_a_stall_of_the_canary(
    edge: Edge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall, boot, slept = time.time_ns, time.clock_gettime_ns, [0]
    monkeypatch.setattr(client.time, "time_ns", lambda: wall() + slept[0])
    monkeypatch.setattr(client.time, "clock_gettime_ns", lambda which: boot(which) + slept[0])
    with inside(edge, tmp_path / "c"):
        time.sleep(0.2)
        slept[0] = 60 * 10**9
        time.sleep(0.2)
    lines = list(read_attempts(tmp_path / "c"))
    stalls = [line.answered - line.sent for line in lines if line.status == b"stall"]
    assert max(stalls) / 1e6 == pytest.approx(60, abs=0.1)
    assert {line.sent - line.answered for line in lines if line.status == b"clock"} == {0}
    assert find_outage(lines).seconds == 0.0


def test_an_answer_that_nobody_thought_of_does_not_stop_it(
    edge: Edge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(_connection: client.Connection, _key: str, _value: str) -> bytes:
        raise LookupError

    with inside(edge, tmp_path / "c"):
        monkeypatch.setattr(client.Connection, "write", write)
        time.sleep(0.2)
        monkeypatch.undo()
        time.sleep(0.2)
    lines = list(read_attempts(tmp_path / "c"))
    assert sum(line.status == b"defect" and line.unknown for line in lines) > 5
    assert lines[-1].acknowledged


def test_what_is_no_http_is_a_broken_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        settings = client.parse(["--url", url, "--service", "s", "--folder", "/nowhere"])[0]

        def answer() -> None:
            peer, _address = server.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(b"nonsense\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert client.Connection(settings).write("k", "v") == b"reset"
        thread.join()


def test_https_is_checked_by_the_authority_given(tmp_path: Path, start: Starter) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusted = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(trusted))
    edge = Edge(context)
    try:
        stranger = start(url=edge.url)
        wait_until(lambda: len(log(stranger)) > 10, seconds=5)
        canary.stop(stranger.folder)
        assert {line.status for line in log(stranger) if line.number} == {b"noconn"}
        found = start(url=edge.url, ca_file=str(trusted))
        writing(found)
        edge.close()
        edge.open()
        writing(found)
        canary.stop(found.folder)
        assert edge.rows.keys() >= {f"t-{line.number}" for line in log(found) if line.acknowledged}
        with pytest.raises(BadInput, match=r"missing\.pem cannot be read.*Next: correct"):
            start(url=edge.url, ca_file=str(tmp_path / "missing.pem"))
    finally:
        edge.close()


def test_all_connections_share_one_tls_context(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str | None] = []
    monkeypatch.setattr(client, "tls_context", lambda ca_file: built.append(ca_file) or ssl.create_default_context())
    settings = client.parse(["--url", "https://127.0.0.1:1", "--service", "s", "--folder", "/nowhere"])[0]
    assert [client.Connection(settings).write("k", "v") for _ in range(3)] == [b"refused"] * 3
    assert built == [None]


def test_it_is_given_what_its_interpreter_needs_and_nothing_else(
    start: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LD_LIBRARY_PATH", "SSL_CERT_FILE", "PLANTED"):
        monkeypatch.setenv(name, "/planted")
    environment = Path(f"/proc/{start().pid}/environ").read_bytes().split(b"\0")
    names = {entry.partition(b"=")[0] for entry in environment if entry}
    assert {b"PATH", b"LD_LIBRARY_PATH", b"SSL_CERT_FILE"} <= names
    assert b"PLANTED" not in names


def test_who_only_asks_does_not_keep_a_canary_from_starting(start: Starter, tmp_path: Path) -> None:
    folder = tmp_path / "canary"
    folder.mkdir()
    with (folder / "canary.lock").open("w") as asked:
        fcntl.flock(asked, fcntl.LOCK_SH)
        threading.Timer(0.2, lambda: fcntl.flock(asked, fcntl.LOCK_UN)).start()
        assert start().running
        canary.stop(folder)
        fcntl.flock(asked, fcntl.LOCK_SH)
        with pytest.raises(StepFailed, match=r"could not be started.*Next: see that"):
            start()


@pytest.mark.parametrize("wish", [{"timeout": 1.3}, {"workers": 65}, {"interval": 0.01}])
def test_a_pace_that_would_not_hold_is_refused(start: Starter, wish: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="under way at once"):
        start(**wish)


def test_writes_that_too_few_workers_could_not_start_are_told(edge: Edge, start: Starter) -> None:
    found = start(workers=2)
    writing(found)
    edge.release.clear()
    time.sleep(0.6)
    edge.release.set()
    writing(found)
    canary.stop(found.folder)
    outage = find_outage(log(found))
    assert outage.seconds == pytest.approx(0.6, abs=0.1)
    assert "no write could be started for 0." in outage.how
