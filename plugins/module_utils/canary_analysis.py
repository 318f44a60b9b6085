# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the canary's log says: the outage as clients saw it, and which acknowledged writes are missing afterwards.

Nothing here connects to anything. All times are UTC microseconds: the canary's own, shifted to the wall clock as its
last `clock` line says. The log is read as a stream, from the line where the wanted time begins, so a log of days costs
no memory.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from .canary_client import ACKNOWLEDGED, LINE_BYTES, MICROSECONDS, SECOND_BYTES, STALL, TORN, UNKNOWN, last_shift
from .clock import stamp

# Without any failed answer a pause is an outage only if writes waited this long in it (an edge may hold requests back).
# Longer than a stall that goes unlogged, shorter than the 0.2 s within which another client is to agree.
HELD_SECONDS = 0.15
# Shorter pauses around a failed attempt are not counted as interruptions of their own.
INTERRUPTION_SECONDS = 0.1
# An attempt is written down when it ends: how long after a pause one that began in it may still appear.
LATE_SECONDS = 35
LATE_GAPS = 4096
# How far before a window the sums of seconds are read, to find the last acknowledged write before it.
OLD_SECONDS = 24 * 3600
LISTED_LOST = 1000
BATCH = 1000
# What the canary says of itself, as it may touch an outage.
ABSENCES = {
    b"start": "nobody watched for {} of it",
    b"missed": "attempts of {} of it could not be written down",
    b"skipped": "no write could be started for {} of it, because all that may be under way were",
    b"stall": "the canary itself stood still for {} of it",
}
# These leave open whether writes would have been acknowledged meanwhile.
UNWATCHED = (b"start", b"missed", b"stall")


class Attempt(NamedTuple):
    """One line of the log. `number` is 0 for what the canary says about itself (ABSENCES, clock)."""

    number: int
    sent: int
    answered: int
    status: bytes
    # Of old times only the sums of seconds are kept: how many attempts this one stands for.
    weight: int = 1

    @property
    def acknowledged(self) -> bool:
        """Whether the row was committed for certain."""
        return self.status in ACKNOWLEDGED

    @property
    def unknown(self) -> bool:
        """Whether the row may or may not have been committed."""
        return self.status in UNKNOWN


@dataclass
class Gap:
    """The time between two acknowledgements that follow each other; `begin` is None before the first one."""

    begin: int | None
    end: int
    failed: int | None = None
    # No attempt failed, but writes had to wait for all of it.
    held: bool = False

    @property
    def length(self) -> int:
        """Length in µs; before any acknowledgement it counts from the first failure."""
        begin = self.failed if self.begin is None else self.begin
        return self.end - begin if begin is not None else 0


class Absence(NamedTuple):
    """A time in which the canary did not do its work, as far as it knows; for `clock`, by how much it was set."""

    kind: bytes
    begin: int
    end: int
    step: int = 0


@dataclass(frozen=True)
class Outage:
    """The longest time without acknowledged writes, and the counts around it. Times in µs, None where not seen."""

    first_failed: int | None
    last_before: int | None
    first_after: int | None
    how: str
    acknowledged: int = 0
    failed: int = 0
    unknown: int = 0
    interruptions: int = 0
    # How much of it nobody saw, in µs: that much shorter it may have been.
    unwatched: int = 0

    @property
    def seconds(self) -> float | None:
        """Length of the outage; a lower bound without a write before it, an upper one if unwatched; None if open."""
        if self.first_failed is None:
            return 0.0
        if self.first_after is None:
            return None
        begin = self.first_failed if self.last_before is None else self.last_before
        return round((self.first_after - begin) / MICROSECONDS, 3)

    def as_report(self, probe: str, lost_writes: int | None) -> dict[str, Any]:
        """Give the outage as report.json holds it."""
        return {
            "first_failed_at": shown(self.first_failed),
            "last_acknowledged_before": shown(self.last_before),
            "first_acknowledged_after": shown(self.first_after),
            "seconds": self.seconds,
            "acknowledged_writes": self.acknowledged,
            "lost_writes": lost_writes,
            "failed_writes": self.failed,
            "unknown_writes": self.unknown,
            "interruptions": self.interruptions,
            "unwatched_seconds": round(self.unwatched / MICROSECONDS, 3),
            "probe": probe,
            "how": self.how,
        }


@dataclass
class Finder:
    """Finds the outage in a stream of attempts that are ordered by their answers."""

    since: int | None = None
    until: int | None = None
    acknowledged: int = 0
    failed: int = 0
    unknown: int = 0
    interruptions: int = 0
    _last: int | None = None
    _open_failed: int | None = None
    _failing: bool = False
    _best: Outage | None = None
    _best_seen: int = -1
    _recent: deque[Gap] = field(default_factory=deque)
    _absences: deque[Absence] = field(default_factory=lambda: deque(maxlen=1024))
    _newest: int | None = None
    _shift: int | None = None

    def feed(self, attempt: Attempt) -> None:
        """Take the next line."""
        if not attempt.number:
            self._listen(attempt)
        else:
            self._judge(attempt)
        self._newest = attempt.answered

    def _listen(self, attempt: Attempt) -> None:
        """Take what the canary says of itself."""
        if attempt.status == b"clock":
            shift, before = attempt.sent - attempt.answered, self._shift
            self._shift = shift
            if before is not None and shift != before:
                self._absences.append(Absence(b"clock", attempt.answered, attempt.answered, shift - before))
        elif attempt.status in ABSENCES:
            begin = self._newest if attempt.status == b"start" else attempt.sent
            if begin is not None:
                self._absences.append(Absence(attempt.status, begin, attempt.answered))

    def _judge(self, attempt: Attempt) -> None:
        inside = self._inside(attempt.answered, attempt.answered)
        if attempt.acknowledged:
            self.acknowledged += attempt.weight if inside else 0
            self._acknowledge(attempt)
            return
        if inside and attempt.unknown:
            self.unknown += attempt.weight
        elif inside:
            self.failed += attempt.weight
        self._witness(attempt.sent, attempt.answered)

    def result(self) -> Outage:
        """Give the outage found so far; an outage that has not ended comes before any that has."""
        while self._recent:
            self._leave(self._recent.popleft())
        counts: dict[str, Any] = {
            name: getattr(self, name) for name in ("acknowledged", "failed", "unknown", "interruptions")
        }
        failed = self._open_failed if self._failing else None
        if failed is not None and (self.until is None or failed < self.until):
            begin, end = failed if self._last is None else self._last, self._newest or failed
            how = "writes still fail: no write was acknowledged since" + self._remarks(begin, end)
            return Outage(failed, self._last, None, how, **counts, unwatched=self._covered(UNWATCHED, begin, end))
        if self._best is None:
            unwatched = self._covered(UNWATCHED, self.since or 0, self.until or self._newest or 0)
            how = "no write failed and none had to wait"
            how += f", but nobody watched for {seconds(unwatched)} of the time" if unwatched else ""
            return Outage(None, None, None, how, **counts, unwatched=unwatched)
        return replace(self._best, **counts)

    def _inside(self, begin: int, end: int) -> bool:
        return (self.since is None or end >= self.since) and (self.until is None or begin <= self.until)

    def _acknowledge(self, attempt: Attempt) -> None:
        at = attempt.answered
        if self._last is not None or self._open_failed is not None:
            self._recent.append(Gap(self._last, at, self._open_failed))
            self._hold(attempt)
            while len(self._recent) > LATE_GAPS or self._recent[0].end < at - LATE_SECONDS * MICROSECONDS:
                self._leave(self._recent.popleft())
        self._last, self._open_failed, self._failing = at, None, False

    def _hold(self, attempt: Attempt) -> None:
        """Mark the pauses that this acknowledged write had to wait through, which another may have ended."""
        for gap in reversed(self._recent):
            if gap.end <= attempt.sent:
                break
            if gap.failed is None and gap.begin is not None:
                waited = gap.end - max(attempt.sent, gap.begin)
                if waited >= HELD_SECONDS * MICROSECONDS and waited * 2 >= gap.length:
                    gap.failed, gap.held = max(attempt.sent, gap.begin), True

    def _witness(self, sent: int, answered: int) -> None:
        """Mark the pauses during which this failed attempt was under way."""
        for gap in reversed(self._recent):
            if gap.end <= sent:
                break
            failed = sent if gap.begin is None else max(sent, gap.begin)
            gap.failed, gap.held = failed if gap.failed is None else min(gap.failed, failed), False
        if self._last is None or answered > self._last:
            begin = sent if self._last is None else max(sent, self._last)
            self._open_failed = begin if self._open_failed is None else min(self._open_failed, begin)
            # One that began before the last acknowledgement is a straggler: no sign that writes fail now.
            self._failing = self._failing or self._last is None or sent > self._last

    def _leave(self, gap: Gap) -> None:
        """Judge a pause once everything that can be said about it has been read."""
        if gap.failed is None or not self._inside(gap.failed if gap.begin is None else gap.begin, gap.end):
            return
        begin = gap.end - gap.length
        if gap.held and self._covered((b"stall",), begin, gap.end) * 2 >= gap.length:
            return  # it was the canary that waited, not the application
        if gap.length >= INTERRUPTION_SECONDS * MICROSECONDS:
            self.interruptions += 1
        unwatched = self._covered(UNWATCHED, begin, gap.end)
        if gap.length - unwatched <= self._best_seen:
            return
        how = "from the last acknowledged write before to the first one after"
        if gap.begin is None:
            how = "a lower bound: no acknowledged write was seen before, so it counts from the first failed one"
        if unwatched:
            how += f"; at least {seconds(gap.length - unwatched)}"
        how += self._remarks(begin, gap.end)
        self._best_seen = gap.length - unwatched
        self._best = Outage(gap.failed, gap.begin, gap.end, how, unwatched=unwatched)

    def _covered(self, kinds: Collection[bytes], begin: int, end: int) -> int:
        """How much of that time lies in absences of these kinds, in µs; where they overlap it counts once."""
        covered = 0
        for absence in sorted(self._absences, key=lambda absence: absence.begin):
            if absence.kind in kinds:
                stop = min(absence.end, end)
                covered += max(0, stop - max(absence.begin, begin))
                begin = max(begin, stop)
        return covered

    def _remarks(self, begin: int, end: int) -> str:
        """What may be wrong with an outage of that time, for a reader."""
        remarks = []
        for kind, text in ABSENCES.items():
            covered = self._covered((kind,), begin, end)
            if covered:
                remarks.append(text.format(seconds(covered)))
        # The last answer before it may have lain unread while this process was kept from running.
        late = max(
            (begin - a.begin for a in self._absences if a.kind == b"stall" and a.begin < begin <= a.end + STALL),
            default=0,
        )
        if late:
            remarks.append(f"it may have begun up to {seconds(late)} sooner: the canary stood still just before")
        steps = sum(a.step for a in self._absences if a.kind == b"clock" and begin <= a.begin <= end)
        if steps:
            remarks.append(f"the machine's clock was set by {steps / MICROSECONDS:+.3f} s in it, which is not counted")
        return "".join(f"; {remark}" for remark in remarks)


def seconds(length: int) -> str:
    """Give a length in µs as text."""
    return f"{length / MICROSECONDS:.3f} s"


def shown(at: int | None) -> str | None:
    """Give a stamp of the canary as the report shows times."""
    return None if at is None else stamp(at / MICROSECONDS)


def parse_line(line: bytes, shift: int = 0) -> Attempt | None:
    """Read one line of writes.log; None for one that was torn by a kill."""
    if len(line) != LINE_BYTES or line[-1:] != b"\n" or line[-2:-1] == TORN:
        return None
    try:
        return Attempt(int(line[:12]), int(line[13:29]) + shift, int(line[30:46]) + shift, line[47:55].rstrip())
    except ValueError:
        return None


def read_attempts(folder: Path, since: int | None = None) -> Iterator[Attempt]:
    """Stream the raw lines answered from `since` on, and those of the few seconds before it that may reach into it."""
    shift = last_shift(str(folder))
    with ExitStack() as stack:
        for log in _open_logs(folder, "writes.log", stack):
            if since is not None:
                _seek(log, since - shift)
            for line in whole_lines(log, LINE_BYTES):
                attempt = parse_line(line, shift)
                if attempt is not None:
                    yield attempt


def whole_lines(log: BinaryIO, width: int) -> Iterator[bytes]:
    """Stream the lines of a file, which may be written meanwhile: what is no whole line yet waits for its rest."""
    block = b""
    while more := log.read(width * 4096):
        block += more
        whole = len(block) - len(block) % width
        for start in range(0, whole, width):
            yield block[start : start + width]
        block = block[whole:]


def read_history(folder: Path, since: int | None = None) -> Iterator[Attempt]:
    """Stream everything known since then: sums of seconds where the raw lines were rotated away, then the raw lines."""
    raw = read_attempts(folder, since)
    first = next(raw, None)
    if first is None:
        return
    yield from _old_seconds(folder, since, first.answered)
    yield first
    yield from raw


def find_outage(attempts: Iterable[Attempt], since: int | None = None, until: int | None = None) -> Outage:
    """Find the outage of a window; a pause that reaches into the window counts as a whole."""
    finder = Finder(since=since, until=until)
    horizon = None if until is None else until + LATE_SECONDS * MICROSECONDS
    for attempt in attempts:
        if horizon is not None and attempt.sent > horizon:
            break
        finder.feed(attempt)
    return finder.result()


def last_acknowledged(folder: Path) -> int | None:
    """When the newest acknowledged write was answered, as far as the last lines of the log (16 KiB) tell."""
    return max((attempt.answered for attempt in _tail(folder) if attempt.acknowledged), default=None)


def last_words(folder: Path) -> str:
    """Say what became of the last writes, for an error: `the last 50 writes until …: 503 (48), timeout (2)`."""
    last = [attempt for attempt in _tail(folder) if attempt.number][-50:]
    if not last:
        return "no write has ended yet"
    counts = Counter(attempt.status.decode() for attempt in last).most_common()
    statuses = ", ".join(status if len(counts) == 1 else f"{status} ({count})" for status, count in counts)
    return f"the last {len(last)} writes until {shown(last[-1].answered)}: {statuses}"


def is_quiet(folder: Path, since: int) -> bool:
    """Whether no attempt has failed since then, and one at least was acknowledged."""
    seen = False
    for attempt in read_attempts(folder, since):
        if attempt.number and attempt.answered >= since:
            if not attempt.acknowledged:
                return False
            seen = True
    return seen


@dataclass
class Loss:
    """The acknowledged writes that the database does not hold; the first thousand by key."""

    checked: int = 0
    earliest: int | None = None
    # Acknowledged writes of the same time that could not be asked for, because their lines were rotated away.
    unchecked: int = 0
    # µs of attempts that could not be written down.
    unwritten: int = 0
    lost: int = 0
    oldest: int | None = None
    newest: int | None = None
    keys: list[dict[str, str | None]] = field(default_factory=list)

    def rpo_seconds(self, failure: int | None) -> float:
        """From the acknowledgement of the oldest lost write to the failure, or to a later write that was lost too."""
        if self.oldest is None or self.newest is None:
            return 0.0
        return round((max(failure or self.newest, self.newest) - self.oldest) / MICROSECONDS, 3)

    @property
    def doubts(self) -> str:
        """Say which acknowledged writes could not be asked for; empty where none."""
        doubts = []
        if self.unchecked:
            doubts.append(f"{self.unchecked} older ones could not be checked, because their log was rotated away")
        if self.unwritten:
            doubts.append(f"those of {seconds(self.unwritten)} could not be written down, and were not checked")
        return ", and ".join(doubts)


def find_loss(attempts: Iterable[Attempt], prefix: str, present: Callable[[list[str]], Iterable[str]]) -> Loss:
    """Ask `present` in batches which keys exist, and name each acknowledged one that does not."""
    loss = Loss()
    batch: dict[str, int] = {}

    def settle() -> None:
        found = set(present(list(batch)))
        for key, at in batch.items():
            if key in found:
                continue
            loss.lost += 1
            loss.oldest = at if loss.oldest is None else min(loss.oldest, at)
            loss.newest = at if loss.newest is None else max(loss.newest, at)
            if len(loss.keys) < LISTED_LOST:
                loss.keys.append({"key": key, "acknowledged_at": shown(at)})
        loss.checked += len(batch)
        batch.clear()

    for attempt in attempts:
        if not attempt.number and attempt.status == b"missed":
            loss.unwritten += attempt.answered - attempt.sent
        if attempt.number and attempt.acknowledged:
            loss.earliest = attempt.answered if loss.earliest is None else loss.earliest
            batch[f"{prefix}-{attempt.number}"] = attempt.answered
            if len(batch) >= BATCH:
                settle()
    if batch:
        settle()
    return loss


def rotated_away(folder: Path, since: int | None) -> int:
    """How many writes acknowledged from then on are known by the sums of seconds only."""
    first = next(read_attempts(folder), None)
    if first is None:
        return 0
    old = _old_seconds(folder, since, first.answered)
    return sum(a.weight for a in old if a.acknowledged and (since is None or a.answered >= since))


def _open_logs(folder: Path, name: str, stack: ExitStack) -> list[BinaryIO]:
    """Open the rotated file and the current one, even while the canary turns them; nothing of a missing one."""
    while True:
        files: list[BinaryIO] = []
        for path in (folder / name, folder / f"{name}.1"):
            try:
                files.append(stack.enter_context(path.open("rb")))
            except FileNotFoundError:
                continue
        identities = {os.fstat(file.fileno()).st_ino for file in files}
        if len(identities) == len(files):  # else the second is the first, turned between the two opens
            return files[::-1]


def _seek(log: BinaryIO, since: int) -> None:
    """Go to the first line that may matter, by halving: the lines are of one width and ordered by their answers."""
    wanted = since - LATE_SECONDS * MICROSECONDS
    low, high = 0, log.seek(0, os.SEEK_END) // LINE_BYTES
    while low < high:
        middle = (low + high) // 2
        log.seek(middle * LINE_BYTES)
        attempt = parse_line(log.read(LINE_BYTES))
        if attempt is not None and attempt.answered < wanted:
            low = middle + 1
        else:
            high = middle
    # One acknowledged write before the window is needed to know where a pause at its edge began.
    block = 512
    while low > 0:
        low = max(0, low - block)
        log.seek(low * LINE_BYTES)
        lines = log.read(block * LINE_BYTES)
        parsed = (parse_line(lines[start : start + LINE_BYTES]) for start in range(0, len(lines), LINE_BYTES))
        if any(attempt is not None and attempt.acknowledged for attempt in parsed):
            break
    log.seek(low * LINE_BYTES)


def _tail(folder: Path) -> Iterator[Attempt]:
    shift = last_shift(str(folder))
    with ExitStack() as stack:
        for log in _open_logs(folder, "writes.log", stack):
            whole = log.seek(0, os.SEEK_END) // LINE_BYTES
            log.seek(max(0, whole - 300) * LINE_BYTES)
            for line in whole_lines(log, LINE_BYTES):
                attempt = parse_line(line, shift)
                if attempt is not None:
                    yield attempt


def _old_seconds(folder: Path, since: int | None, before: int) -> Iterator[Attempt]:
    """Turn the sums of each second into the attempts that matter; what lies within one second blurs to its length."""
    shift = last_shift(str(folder))
    with ExitStack() as stack:
        for log in _open_logs(folder, "seconds.log", stack):
            for line in whole_lines(log, SECOND_BYTES):
                try:
                    second, acked, failed, unknown, first, last, first_failed = map(int, line.split())
                except ValueError:
                    continue
                begin = second * MICROSECONDS + shift
                if begin + MICROSECONDS > before:
                    return
                if since is not None and begin < since - OLD_SECONDS * MICROSECONDS:
                    continue
                first, last, first_failed = first + shift, last + shift, first_failed + shift
                attempts = []
                if acked:
                    attempts.append(Attempt(1, first, first, b"201", acked - (acked > 1)))
                if acked > 1:
                    attempts.append(Attempt(1, last, last, b"201"))
                if failed or unknown:
                    ended = max(first_failed, begin)
                    attempts.append(Attempt(1, first_failed, ended, b"503" if failed else b"timeout", failed + unknown))
                yield from sorted(attempts, key=lambda attempt: attempt.answered)
