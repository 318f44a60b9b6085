# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The judgement of logs that were written by hand: every time in them is known."""

from __future__ import annotations

import io
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
    last_words,
    parse_line,
    read_attempts,
    read_history,
    rotated_away,
    whole_lines,
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


@pytest.mark.parametrize(("length", "measured"), [(0.1, 0.0), (0.2, 0.22)])
def test_a_pause_is_an_outage_before_another_client_disagrees_by_a_fifth_of_a_second(
    length: float, measured: float
) -> None:
    held = [(1 + i * 0.02, 1 + length, "201") for i in range(round(length / 0.02))]
    assert found([*good(0, 1), *held, *good(1.02 + length, 2)]).seconds == pytest.approx(measured, abs=0.01)


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
    assert "at least 1.020 s" in outage.how
    assert outage.as_report("p", None)["unwatched_seconds"] == 3.0


def test_stalls_of_many_threads_count_once() -> None:
    stalls = [Attempt(0, us(2.0 + n / 100), us(3.0), b"stall") for n in range(5)]
    lines = [*attempts([*good(0, 1), *bad(1, 2)]), *stalls, *attempts(good(3.01, 4))]
    assert "stood still for 1.000 s of it" in find_outage(lines).how


def test_an_answer_read_late_just_before_an_outage_may_hide_its_begin() -> None:
    lines = attempts([*good(0, 1), (0.98, 1.3, "201"), *bad(1.3, 2), *good(2, 3)])
    stall = Attempt(0, us(0.99), us(1.299), b"stall")
    assert "begun up to 0.310 s sooner" in find_outage([*lines[:50], stall, *lines[50:]]).how
    assert "sooner" not in find_outage([*lines[:10], stall._replace(sent=us(0.1), answered=us(0.2)), *lines[10:]]).how


START_LINE = Attempt(0, us(60), us(60), b"start")


def test_the_absence_of_the_canary_itself_is_a_bound_and_no_measurement() -> None:
    lines = [*attempts([*good(0, 1), *bad(1, 2)]), START_LINE, *attempts([*bad(60, 61), *good(61, 62)])]
    outage = find_outage(lines)
    assert outage.seconds == pytest.approx(60.02)
    report = outage.as_report("p", None)
    assert report["unwatched_seconds"] == pytest.approx(58.019)
    assert "at least 2.001 s; nobody watched for 58.019 s of it" in report["how"]
    # It is no reason to pass over a shorter one that was seen as a whole.
    seen = find_outage([*lines, *attempts([*bad(62, 65), *good(65, 66)])])
    assert (seen.seconds, seen.unwatched) == (pytest.approx(3.02), 0)


def test_an_absence_without_any_failure_is_no_outage_but_told() -> None:
    outage = find_outage([*attempts(good(0, 1)), START_LINE, *attempts(good(60, 61))])
    assert outage.seconds == 0.0
    assert outage.how == "no write failed and none had to wait, but nobody watched for 59.018 s of the time"
    assert "nobody" not in find_outage([START_LINE, *attempts(good(60, 61))]).how
    late = find_outage([*attempts(good(0, 1)), START_LINE, *attempts(good(60, 61))], us(59))
    assert late.unwatched == pytest.approx(1e6)


def test_an_outage_that_lasts_tells_of_absences_as_well() -> None:
    outage = find_outage([*attempts([*good(0, 1), *bad(1, 2)]), START_LINE, *attempts(bad(60, 61))])
    assert outage.seconds is None
    assert "nobody watched for 58.019 s of it" in outage.how


def test_attempts_that_could_not_be_written_down_or_started_are_told() -> None:
    missed = Attempt(0, us(1.5), us(2.5), b"missed")
    skipped = Attempt(0, us(2.5), us(2.9), b"skipped")
    outage = find_outage([*attempts([*good(0, 1), *bad(1, 1.5)]), missed, skipped, *attempts(good(3, 4))])
    assert "attempts of 1.000 s of it could not be written down" in outage.how
    assert "no write could be started for 0.400 s of it" in outage.how
    assert outage.unwatched == 1_000_000


def test_a_clock_that_was_set_in_an_outage_is_told() -> None:
    def clock(at: float, ahead: float) -> Attempt:
        return Attempt(0, us(at + ahead), us(at), b"clock")

    lines = [clock(0, 0), *attempts([*good(0, 1), *bad(1, 2)]), clock(2, -30.0), *attempts(good(2, 3)), clock(3, -30.0)]
    assert "clock was set by -30.000 s in it" in find_outage(lines).how
    assert "set by" not in find_outage([*lines, clock(3, 8.0)]).how.replace("set by -30.000 s", "")


def test_flapping_reports_the_longest_and_counts_all() -> None:
    outage = found([*good(0, 1), *bad(1, 2), *good(2, 2.1), *bad(2.1, 4), *good(4, 4.1), *bad(4.1, 4.5), *good(4.5, 6)])
    assert outage.seconds == pytest.approx(1.92)
    assert outage.interruptions == 3


def test_a_canary_started_after_the_failure_says_so() -> None:
    outage = found([*bad(0, 2), *good(2, 3)])
    assert outage.last_before is None
    assert outage.seconds == pytest.approx(2.002)
    assert "a lower bound" in outage.how
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
    assert client.last_line(str(tmp_path))[0] in (len(lines) - 1, len(lines))
    log = client.Log(str(tmp_path), client.Clock(), 0)
    log.append(5000, us(1), b"201", us(1.1))
    assert path.stat().st_size % client.LINE_BYTES == 0
    # Where only the line's end was missing, nothing was.
    kept = lines if torn == client.LINE_BYTES - 1 else lines[:-1]
    assert list(read_attempts(tmp_path)) == [*kept, Attempt(5000, us(1), us(1.1), b"201")]


class Growing(io.BytesIO):
    """A file whose reads end anywhere, as those of a file that is being written may."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 0, 100))


def test_reads_that_end_inside_a_line_cost_none(tmp_path: Path) -> None:
    lines = attempts(good(0, 1))
    write(tmp_path, lines)
    read = whole_lines(Growing((tmp_path / "writes.log").read_bytes()), client.LINE_BYTES)
    assert [parse_line(line) for line in read] == lines


def test_all_stamps_are_shifted_to_the_wall_clock_of_the_last_clock_line(tmp_path: Path) -> None:
    lines = attempts([*good(0, 1), *bad(1, 2), *good(2, 3)])
    early, late = Attempt(0, us(0), us(0), b"clock"), Attempt(0, us(12.5), us(2.5), b"clock")
    write(tmp_path, [early, *lines[:130], late, *lines[130:]])
    outage = find_outage(read_history(tmp_path, us(10)), us(10))
    assert (outage.last_before, outage.first_after) == (us(10.982), us(12.002))
    assert last_acknowledged(tmp_path) == us(12.982)
    assert is_quiet(tmp_path, us(12.5))
    assert not is_quiet(tmp_path, us(11.5))
    (tmp_path / "writes.log").rename(tmp_path / "writes.log.1")
    write(tmp_path, attempts(good(3, 4)))
    assert last_acknowledged(tmp_path) == us(13.982)


def test_the_last_writes_are_said_in_words(tmp_path: Path) -> None:
    assert last_words(tmp_path) == "no write has ended yet"
    write(tmp_path, attempts([*good(0, 1), *bad(1, 1.1), *bad(1.1, 1.2, "timeout", 1.0)]))
    assert last_words(tmp_path).endswith("Z: 201 (40), 503 (5), timeout (5)")
    assert last_words(tmp_path).startswith("the last 50 writes until 2026-")


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
    raw = list(read_attempts(tmp_path))
    assert len(raw) <= 400
    # What was rotated away cannot be read back, and is counted.
    gone = rotated_away(tmp_path, None)
    assert gone + sum(attempt.acknowledged for attempt in raw) == pytest.approx(2750, abs=50)
    assert rotated_away(tmp_path, us(20)) == pytest.approx(gone - 750, abs=50)
    assert rotated_away(tmp_path, raw[0].answered) == 0


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


def test_what_could_not_be_checked_is_in_doubt() -> None:
    loss = find_loss([*attempts(good(0, 1)), Attempt(0, us(1), us(3.5), b"missed")], "p", lambda keys: keys)
    assert (loss.checked, loss.earliest, loss.lost) == (50, us(0.002), 0)
    assert loss.doubts == "those of 2.500 s could not be written down, and were not checked"
    assert find_loss(attempts(good(0, 1)), "p", lambda keys: keys).doubts == ""


def test_writes_lost_after_the_failure_count_to_the_newest_of_them() -> None:
    loss = find_loss(attempts(good(0, 1)), "p", lambda _keys: [])
    assert loss.rpo_seconds(us(0.5)) == pytest.approx(0.98)
    assert loss.lost == 50


def test_the_list_of_lost_writes_is_bounded_the_count_is_not() -> None:
    loss = find_loss(attempts(good(0, 60)), "p", lambda _keys: [])
    assert (loss.lost, len(loss.keys)) == (3000, 1000)
