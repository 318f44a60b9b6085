# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where two copies of a database parted: control files, timeline histories and the log beyond the fork."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .model import format_lsn, parse_lsn

FIELD = re.compile(r"^([^:]+):\s+(.*)$", re.MULTILINE)
SWITCH = re.compile(r"^\s*(\d+)\s+([0-9A-F]+/[0-9A-F]+)", re.MULTILINE)
NOTHING_AFTER = "could not find a valid record"


@dataclass(frozen=True)
class ControlFile:
    """What a cluster says of itself while it is down."""

    system_identifier: str
    state: str
    checkpoint: int
    timeline: int
    can_rewind: bool
    wal_level: str
    prepared_transactions: int
    segment_bytes: int = 16 * 1024 * 1024

    @property
    def shut_down(self) -> bool:
        """Say whether it was stopped in order."""
        return self.state in {"shut down", "shut down in recovery"}


@dataclass(frozen=True)
class Switch:
    """A timeline, and the position at which the next one left it."""

    timeline: int
    at: int


@dataclass(frozen=True)
class Line:
    """The timeline that a server is on, and those that it came over."""

    timeline: int
    history: tuple[Switch, ...] = ()

    def spans(self) -> list[tuple[int, int, int | None]]:
        """Give every timeline with its begin and its end; the present one has none."""
        begin, found = 0, []
        for switch in self.history:
            found.append((switch.timeline, begin, switch.at))
            begin = switch.at
        return [*found, (self.timeline, begin, None)]


@dataclass(frozen=True)
class Fork:
    """The last timeline that both went over, and where they parted. Without a position the other is on our line."""

    timeline: int
    at: int | None


@dataclass(frozen=True)
class Beyond:
    """What a cluster's log holds beyond a fork."""

    end: int
    records: int = 0
    transactions: int = 0
    trouble: str | None = None

    def bytes(self, fork: int) -> int:
        """Give how much it is."""
        return max(0, self.end - fork)


def parse_control(text: str) -> ControlFile | None:
    """Read pg_controldata's output, or nothing where it is no whole control file."""
    found = {name.strip(): value.strip() for name, value in FIELD.findall(text)}
    # The program warns of a wrong sum, and shows the broken file all the same.
    if "CRC checksum does not match" in text or "Database system identifier" not in found:
        return None
    try:
        return ControlFile(
            system_identifier=found["Database system identifier"],
            state=found["Database cluster state"],
            checkpoint=parse_lsn(found["Latest checkpoint location"]) or 0,
            timeline=int(found["Latest checkpoint's TimeLineID"]),
            can_rewind=found.get("wal_log_hints setting") == "on" or found.get("Data page checksum version") != "0",
            wal_level=found.get("wal_level setting", "replica"),
            prepared_transactions=int(found.get("max_prepared_xacts setting", "0")),
            segment_bytes=int(found.get("Bytes per WAL segment", ControlFile.segment_bytes)),
        )
    except (KeyError, ValueError):
        return None


def parse_history(text: str | None) -> tuple[Switch, ...]:
    """Read a timeline's history file."""
    return tuple(Switch(int(timeline), parse_lsn(at) or 0) for timeline, at in SWITCH.findall(text or ""))


def fork_of(own: Line, other: Line) -> Fork | None:
    """Find where `own` parted from `other`: the last timeline that both have with the same begin. None: nowhere."""
    found: Fork | None = None
    for (timeline, begin, end), (their_timeline, their_begin, their_end) in zip(
        own.spans(), other.spans(), strict=False
    ):
        if (timeline, begin) != (their_timeline, their_begin):
            break
        ends = [position for position in (end, their_end) if position is not None]
        found = Fork(timeline, min(ends) if ends else None)
    return found


def beyond_from(facts: Mapping[str, Any], fork: int) -> Beyond:
    """Read what the host counted beyond the fork."""
    last, length = parse_lsn(facts.get("last_lsn")), int(facts.get("last_length") or 0)
    # Records begin at multiples of eight.
    end = fork if last is None else last + (length + 7) // 8 * 8
    problem = str(facts.get("trouble") or "") or None
    if problem and (last is not None or NOTHING_AFTER in problem):
        problem = None  # that is how the end of a log looks
    return Beyond(end, int(facts.get("records") or 0), int(facts.get("transactions") or 0), problem)


def line_words(line: Line) -> str:
    """Say a line of timelines."""
    came = ", ".join(f"{switch.timeline} until {format_lsn(switch.at)}" for switch in line.history)
    return f"timeline {line.timeline}" + (f" (came over {came})" if came else "")


def segment_names(timeline: int, first: int, last: int, segment_bytes: int) -> Sequence[str]:
    """Name the log's files that hold a span."""
    per_id = 0x1_0000_0000 // segment_bytes
    numbers = range(first // segment_bytes, last // segment_bytes + 1)
    return [f"{timeline:08X}{number // per_id:08X}{number % per_id:08X}" for number in numbers]
