# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an old primary becomes a standby again: pure decisions from what its host and the present primary show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .decide import Gate
from .host import facts_from
from .lineage import Beyond, ControlFile, Fork, Line, line_words, parse_control, parse_history
from .model import format_lsn, shown_bytes

Way = Literal["already", "follow", "rewind", "rebuild"]
Data = Literal["missing", "empty", "damaged", "present"]
ROOM_FACTOR = 1.1


@dataclass(frozen=True)
class Primary:
    """The present primary, as far as a follower needs to know it."""

    name: str
    system_identifier: str
    line: Line
    version: int
    position: int
    conninfo: str = ""
    slot: str = ""

    @property
    def major(self) -> int:
        """Give its major version."""
        return self.version // 10000


@dataclass(frozen=True)
class HostFacts:
    """What a member's host shows of its data."""

    programs: str
    data: Data
    version: str = ""
    running: bool = False
    isolated: bool = False
    marker: str = ""
    marker_timeline: int | None = None
    kept: str = ""
    control: ControlFile | None = None
    control_words: str = ""
    line: Line | None = None
    conninfo: str = ""
    slot: str = ""
    timelines: str = ""
    free_kib: int = 0
    used_kib: int = 0


@dataclass(frozen=True)
class Plan:
    """The way back, why it is that one, and what stands in it."""

    way: Way
    why: str
    save: bool = False
    unsaved: str | None = None

    @property
    def overwrites(self) -> bool:
        """Say whether data of the member will be replaced."""
        return self.way in {"rewind", "rebuild"}


def facts_of(sections: Mapping[str, str]) -> HostFacts:
    """Read what the host was asked."""
    found = facts_from(sections.get("facts", ""))
    control_text = sections.get("control", "")
    marker, _, timeline = found.get("marker", "").partition(" ")
    data: Any = found.get("data", "missing")
    control = parse_control(control_text) if data == "present" else None
    return HostFacts(
        programs=found.get("bin", ""),
        data=data,
        version=found.get("version", ""),
        running=bool(found.get("running")),
        isolated=bool(found.get("isolated")),
        marker=marker,
        marker_timeline=int(timeline) if timeline.isdigit() else None,
        kept=found.get("kept", ""),
        control=control,
        control_words=control_text.strip().splitlines()[0] if control_text.strip() else "there is none",
        line=line_of(control, found.get("newest", ""), sections.get("history", "")),
        conninfo=found.get("conninfo", ""),
        slot=found.get("slot", ""),
        timelines=found.get("timelines", ""),
        free_kib=int(found.get("free_kib") or 0),
        used_kib=int(found.get("used_kib") or 0),
    )


def line_of(control: ControlFile | None, newest: str, history: str) -> Line | None:
    """Give the timelines of a cluster: its log may be further than its last checkpoint."""
    timelines = [int(newest, 16)] if newest else []
    if control:
        timelines.append(control.timeline)
    return Line(max(timelines), parse_history(history)) if timelines else None


def plan(
    *,
    streams: bool,
    primary: Primary,
    host: HostFacts | None,
    fork: Fork | None = None,
    beyond: Beyond | None = None,
) -> Plan:
    """Choose the way. A pure function of what was seen."""
    if streams:
        return Plan("already", f"it streams from {primary.name}")
    assert host is not None, "a member that does not stream is examined first"
    return from_marker(primary, host) or from_state(primary, host) or from_fork(host, fork, beyond)


def from_marker(primary: Primary, host: HostFacts) -> Plan | None:
    """Go on where an earlier attempt ended. What it replaced was saved before."""
    if host.marker == "rebuilding":
        return Plan("rebuild", "an earlier rebuild was cut short")
    if host.marker == "rewinding":
        return Plan("rebuild", "an earlier rewind was cut short: its files are of two moments")
    if host.marker in {"rewound", "rebuilt"} and host.marker_timeline == primary.line.timeline:
        return Plan("follow", f"an earlier attempt has {host.marker} it")
    return None


def from_state(primary: Primary, host: HostFacts) -> Plan | None:
    """Judge by the data alone."""
    if host.data in {"missing", "empty"}:
        return Plan("rebuild", f"its data directory is {host.data}")
    if host.data == "damaged":
        return Plan("rebuild", "its data directory holds no cluster", unsaved="files that are no cluster")
    if host.version != str(primary.major):
        seen = f"its data is of PostgreSQL {host.version}, {primary.name} of {primary.major}"
        return Plan("rebuild", seen, unsaved=seen)
    if host.control is None:
        return Plan("rebuild", "its control file is damaged", unsaved=f"a damaged control file ({host.control_words})")
    if host.control.system_identifier != primary.system_identifier:
        seen = f"another database (system identifier {host.control.system_identifier}, not {primary.system_identifier})"
        return Plan("rebuild", f"it holds {seen}", unsaved=seen)
    return None


def from_fork(host: HostFacts, fork: Fork | None, beyond: Beyond | None) -> Plan:
    """Judge by where it parted from the primary."""
    control = host.control
    assert control is not None
    if fork is None:
        return Plan("rebuild", "it shares no timeline with the primary", unsaved="a history with nothing in common")
    if beyond is None or beyond.trouble:
        seen = f"its log beyond the fork cannot be read ({beyond.trouble if beyond else 'it was not looked at'})"
        return Plan("rebuild", seen, unsaved=seen)
    position = beyond.end if fork.at is None else fork.at
    if control.checkpoint > max(position, beyond.end):
        seen = f"its log ends at {format_lsn(beyond.end)}, before its checkpoint at {format_lsn(control.checkpoint)}"
        return Plan("rebuild", seen, unsaved=seen)
    if beyond.end <= position:
        return Plan("follow", "it has nothing that the primary does not have")
    seen = f"it wrote {shown_bytes(beyond.end - position)} of log beyond {format_lsn(position)}"
    if not control.can_rewind:
        return Plan("rebuild", f"{seen}, with neither checksums nor wal_log_hints", save=beyond.transactions > 0)
    return Plan("rewind", seen, save=beyond.transactions > 0)


def unsaved_gate(chosen: Plan, *, accepted: bool, reason: str | None) -> Gate:
    """Refuse to overwrite what could not be saved, unless that is accepted for this run."""
    wanted = "nothing is overwritten that is neither on the primary nor saved"
    if chosen.unsaved is None:
        return Gate("unreplicated data", chosen.why, wanted)
    seen = f"cannot be saved: {chosen.unsaved}"
    if accepted:
        return Gate("unreplicated data", seen, wanted, "override", by=f"operator: {reason}")
    return Gate(
        "unreplicated data",
        seen,
        wanted,
        "refuse",
        next_action="look at what is there and save it by hand; then accept its loss for this run with "
        "recovery_allow_data_loss=true and a recovery_reason",
    )


def room_gate(host: HostFacts, needed_kib: int) -> Gate:
    """Refuse a rebuild that would not fit: the old data is removed before the new one comes."""
    free = host.free_kib + host.used_kib
    wanted = f"room for {shown_bytes(int(needed_kib * ROOM_FACTOR) * 1024)}"
    seen = f"{shown_bytes(free * 1024)} with the old data removed"
    if free >= needed_kib * ROOM_FACTOR:
        return Gate("room for the copy", seen, wanted)
    return Gate("room for the copy", seen, wanted, "refuse", next_action="make room on the host, then run again")


def slot_name(configured: str, member: str) -> str:
    """Give the slot of a member: its own setting, or one made of its name."""
    made = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in member.lower())
    return configured or made


def facts_lines(name: str, primary: Primary, host: HostFacts, fork: Fork | None, beyond: Beyond | None) -> list[str]:
    """Say what was found of a member, a line each."""
    state = host.control.state if host.control else host.data
    lines = [f"{name}: data {state}" + (f", {line_words(host.line)}" if host.line else "")]
    if fork and fork.at is not None and beyond and not beyond.trouble:
        extent = beyond.bytes(fork.at)
        told = (
            f"{shown_bytes(extent)} of log in {beyond.records} records, {beyond.transactions} transactions committed"
            if extent
            else "nothing"
        )
        lines.append(
            f"{name} parted from {primary.name} on timeline {fork.timeline} at {format_lsn(fork.at)}; beyond it: {told}"
        )
    return lines


def history_name(timeline: int) -> str:
    """Name a timeline's history file."""
    return f"pg_wal/{timeline:08X}.history"


def fork_name(fork: Fork, beyond: Beyond, system_identifier: str) -> str:
    """Name what is saved of a member by what it is, so that the same is saved once."""
    at = (format_lsn(fork.at) or "").replace("/", "-")
    return f"{system_identifier}-timeline-{fork.timeline}-from-{at}-transactions-{beyond.transactions}"
