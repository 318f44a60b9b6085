# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The judgement of logs that were written by hand: every time in them is known."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from ansible_collections.platform.recovery.plugins.module_utils import canary_client as client
from ansible_collections.platform.recovery.plugins.module_utils.canary_analysis import (
    Attempt,
    Outage,
    find_loss,
    find_outage,
    is_quiet,
    last_acknowledged,
    parse_line,
    read_attempts,
    read_history,
)

START = 1_795_000_000_000_000
Line = tuple[float, float, str]


def us(seconds: float) -> int:
    return START + round(seconds * 1_000_000)


def attempts(lines: Iterable[Line]) -> list[Attempt]:
    return [Attempt(n, us(sent), us(ended), status.encode()) for n, (sent, ended, status) in enumerate(lines, 1)]


def good(begin: float, end: float, step: float = 0.02) -> list[Line]:
    count = round((end - begin) / step)
    return [(begin + i * step, begin + i * step + 0.002, "201") for i in range(count)]


def bad(begin: float, end: float, status: str = "503", took: float = 0.001) -> list[Line]:
    return [(at, at + took, status) for at, _ended, _status in good(begin, end)]


def found(lines: list[Line], **window: int) -> Outage:
    return find_outage(sorted(attempts(lines), key=lambda attempt: attempt.answered), **window)


def test_no_failure_is_no_outage() -> None:
    outage = found(good(0, 2))
    assert (outage.seconds, outage.first_failed, outage.acknowledged) == (0.0, None, 100)


@pytest.mark.parametrize("status", ["503", "refused", "noconn", "timeout", "reset", "409"])
def test_outage_runs_from_the_last_acknowledgement_to_the_first(status: str) -> None:
    outage = found([*good(0, 1), *bad(1, 3, status), *good(3, 4)])
    assert outage.seconds == pytest.approx(2.02)
    assert (outage.last_before, outage.first_failed, outage.first_after) == (us(0.982), us(1.0), us(3.002))
    assert (outage.acknowledged, outage.interruptions) == (100, 1)
    assert outage.unknown == (100 if status in ("timeout", "reset", "409") else 0)
    assert outage.unknown + outage.failed == 100


def test_hanging_writes_written_down_after_the_recovery_still_mark_the_outage() -> None:
    hanging = [(1 + i * 0.02, 2 + i * 0.02, "timeout") for i in range(25)]
    outage = found([*good(0, 1), *hanging, *good(1.5, 4)])
    assert outage.seconds == pytest.approx(0.52)
    assert outage.interruptions == 1


def test_writes_that_an_edge_holds_back_are_an_outage_without_any_failure() -> None:
    held = [(1 + i * 0.02, 2.0 + i * 0.0001, "201") for i in range(50)]
    outage = found([*good(0, 1), *held, *good(2.1, 3)])
    assert outage.seconds == pytest.approx(1.018)
    assert outage.failed + outage.unknown == 0


def test_held_writes_are_an_outage_whichever_of_them_is_answered_first() -> None:
    held = [(1 + i * 0.02, 2.0 + (49 - i) * 0.0001, "201") for i in range(50)]
    outage = found(sorted([*good(0, 1), *held, *good(2.1, 3)], key=lambda line: line[1]))
    assert outage.seconds == pytest.approx(1.02, abs=0.03)


def test_one_slow_write_among_quick_ones_is_no_outage() -> None:
    assert found(sorted([*good(0, 3), (1.0, 1.9, "201")], key=lambda line: line[1])).seconds == 0.0


def test_a_canary_that_stood_still_itself_saw_no_outage() -> None:
    lines = attempts([*good(0, 1), (0.99, 4.0, "201"), *good(4.01, 5)])
    stall = Attempt(0, us(1.0), us(4.0), b"stall")
    assert find_outage([*lines[:50], stall, *lines[50:]]).seconds == 0.0


def test_a_stall_within_a_real_outage_is_named() -> None:
    lines = attempts([*good(0, 1), *bad(1, 2), (5, 5.002, "201")])
    outage = find_outage([*lines[:-1], Attempt(0, us(2.0), us(5.0), b"stall"), lines[-1]])
    assert outage.seconds == pytest.approx(4.02)
    assert "stood still for 3.000 s" in outage.how


def test_flapping_reports_the_longest_and_counts_all() -> None:
    outage = found([*good(0, 1), *bad(1, 2), *good(2, 2.1), *bad(2.1, 4), *good(4, 4.1), *bad(4.1, 4.5), *good(4.5, 6)])
    assert outage.seconds == pytest.approx(1.92)
    assert outage.interruptions == 3


def test_a_canary_started_after_the_failure_says_so() -> None:
    outage = found([*bad(0, 2), *good(2, 3)])
    assert outage.last_before is None
    assert outage.seconds == pytest.approx(2.002)
    assert "at least" in outage.how
    assert outage.as_report("p", None)["last_acknowledged_before"] is None


def test_an_outage_that_lasts_has_no_length() -> None:
    outage = found([*good(0, 1), *bad(1, 2), *good(2, 3), *bad(3, 3.2)])
    assert outage.seconds is None
    assert (outage.last_before, outage.first_failed, outage.first_after) == (us(2.982), us(3.0), None)


def test_a_straggler_at_the_end_is_no_open_outage() -> None:
    assert found([*good(0, 1), *bad(1, 3), *good(3, 4), (2.99, 3.9999, "timeout")]).seconds == pytest.approx(2.02)


def test_windows_choose_among_outages_and_keep_them_whole() -> None:
    lines = [*good(0, 1), *bad(1, 4), *good(4, 6), *bad(6, 7), *good(7, 8)]
    assert found(lines).seconds == pytest.approx(3.02)
    assert found(lines, since=us(5)).seconds == pytest.approx(1.02)
    assert found(lines, until=us(5)).seconds == pytest.approx(3.02)
    assert found(lines, since=us(2), until=us(3)).seconds == pytest.approx(3.02)
    assert found(lines, since=us(7.5)).seconds == 0.0


def write(folder: Path, lines: Iterable[Attempt]) -> None:
    with (folder / "writes.log").open("wb") as log:
        for line in lines:
            log.write(client.LINE % (line.number, line.sent, line.answered, line.status))


def test_lines_come_back_as_they_were_written(tmp_path: Path) -> None:
    lines = attempts([*good(0, 1), *bad(1, 2, "refused")])
    write(tmp_path, lines)
    assert list(read_attempts(tmp_path)) == lines
    assert last_acknowledged(tmp_path) == us(0.982)
    assert not is_quiet(tmp_path, us(0.9))


@pytest.mark.parametrize("torn", range(1, client.LINE_BYTES))
def test_a_torn_last_line_is_passed_over_and_filled_up(tmp_path: Path, torn: int) -> None:
    lines = attempts(good(0, 0.2))
    write(tmp_path, lines)
    path = tmp_path / "writes.log"
    path.write_bytes(path.read_bytes()[: -client.LINE_BYTES + torn])
    assert list(read_attempts(tmp_path)) == lines[:-1]
    assert client.last_number(str(tmp_path)) in (len(lines) - 1, len(lines))
    log = client.Log(str(tmp_path), client.Clock(), 0)
    log.append(5000, us(1), b"201", us(1.1))
    assert path.stat().st_size % client.LINE_BYTES == 0
    # Where only the line's end was missing, nothing was.
    kept = lines if torn == client.LINE_BYTES - 1 else lines[:-1]
    assert list(read_attempts(tmp_path)) == [*kept, Attempt(5000, us(1), us(1.1), b"201")]


def test_garbage_is_no_line() -> None:
    assert parse_line(b"x" * (client.LINE_BYTES - 1) + b"\n") is None
    assert parse_line(b"") is None


def test_reading_from_a_time_on_finds_the_acknowledgement_before_a_long_outage(tmp_path: Path) -> None:
    write(tmp_path, attempts([*good(0, 10), *bad(10, 400), *good(400, 410)]))
    read = list(read_attempts(tmp_path, us(399)))
    assert len(read) < 22_000
    assert find_outage(read, us(399)).seconds == pytest.approx(390.02)
    late = list(read_attempts(tmp_path, us(460)))
    assert len(late) < 3000


def test_a_log_of_hours_is_judged_in_bounded_memory(tmp_path: Path) -> None:
    def lines() -> Iterator[Attempt]:
        for n in range(1, 200_001):
            status = b"503" if 100_000 < n <= 100_100 else b"201"
            yield Attempt(n, us(n * 0.02), us(n * 0.02 + 0.001), status)

    write(tmp_path, lines())
    tracemalloc.start()
    outage = find_outage(read_history(tmp_path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert outage.seconds == pytest.approx(2.02)
    assert outage.acknowledged == 199_900
    assert peak < 4 * 1024 * 1024


def test_rotation_keeps_disk_bounded_and_old_outages_known(tmp_path: Path) -> None:
    limit = 200 * client.LINE_BYTES
    log = client.Log(str(tmp_path), client.Clock(), limit)
    for line in attempts([*good(0, 10), *bad(10, 15), *good(15, 60)]):
        log.append(line.number, line.sent, line.status, line.answered)
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert size <= 2 * (limit + client.LINE_BYTES) + 2 * (limit + client.SECOND_BYTES)
    outage = find_outage(read_history(tmp_path))
    assert outage.seconds == pytest.approx(5.02, abs=1.0)
    assert outage.last_before == us(9.982)
    assert outage.acknowledged == pytest.approx(2750, abs=50)
    assert sum(1 for _ in read_attempts(tmp_path)) <= 400


def test_each_lost_write_is_named_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, attempts([*good(0, 240), *bad(240, 241, "timeout"), *good(241, 242)]))
    missing = {f"p-{n}" for n in (3, 5000, 5001, 11_999)}
    asked: list[int] = []

    def present(keys: list[str]) -> list[str]:
        asked.append(len(keys))
        return [key for key in keys if key not in missing]

    loss = find_loss(read_attempts(tmp_path), "p", present)
    assert {entry["key"] for entry in loss.keys} == missing
    assert (loss.lost, loss.checked, max(asked)) == (4, 12_050, 1000)
    assert loss.oldest == us(0.042)
    assert loss.rpo_seconds(us(240)) == pytest.approx(239.958)


def test_writes_lost_after_the_failure_count_to_the_newest_of_them() -> None:
    loss = find_loss(attempts(good(0, 1)), "p", lambda _keys: [])
    assert loss.rpo_seconds(us(0.5)) == pytest.approx(0.98)
    assert loss.lost == 50


def test_the_list_of_lost_writes_is_bounded_the_count_is_not() -> None:
    loss = find_loss(attempts(good(0, 60)), "p", lambda _keys: [])
    assert (loss.lost, len(loss.keys)) == (3000, 1000)
