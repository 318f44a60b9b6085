# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of a database and its members, as plain immutable data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import BadInput
from ..service_manager import Fence as Fence
from .places import RdsPlace, ResourcePlace

Mode = Literal["plan", "switchover", "failover"]
Cause = Literal[
    "refused",
    "timeout",
    "authentication",
    "tls",
    "starting",
    "lost",
    "name",
    "disk_full",
    "read_only",
    "permission",
    "other",
]

ANSWERED: frozenset[str] = frozenset({"authentication", "tls", "starting"})
"""Causes that only a running server gives: it could not be asked, but it is not down."""


def parse_lsn(text: str | None) -> int | None:
    """Read a position such as ``16/B374D848`` into bytes."""
    if not text:
        return None
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def format_lsn(position: int | None) -> str | None:
    """Write a position the way PostgreSQL does."""
    return None if position is None else f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


Topology = Literal["one_cluster", "standby_cluster"]


@dataclass(frozen=True)
class PatroniNode:
    """One node of a Patroni cluster: its API, its PostgreSQL where the member's place is not its own, its host."""

    name: str
    url: str
    host: str | None = None
    port: int | None = None
    fence: Fence = field(default_factory=Fence)


@dataclass(frozen=True)
class PatroniPlace:
    """A member that Patroni runs: the nodes of a region, and how their API is to be trusted.

    Either all members are one cluster, or each is a cluster of its own and all but one are standby clusters.
    """

    nodes: tuple[PatroniNode, ...]
    topology: Topology = "one_cluster"
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    """What a standby cluster that follows this member has in its `standby_cluster`, beside host and port."""


@dataclass(frozen=True)
class Member:
    """One server of a database, and how to reach it."""

    name: str
    host: str
    address: str | None = None
    port: int = 5432
    sslmode: str = "verify-full"
    sslrootcert: str | None = None
    fence: Fence = field(default_factory=Fence)
    data_directory: str | None = None
    bin_directory: str | None = None
    config_file: str | None = None
    os_user: str = "postgres"
    resource: ResourcePlace | None = None
    rds: RdsPlace | None = None
    patroni: PatroniPlace | None = None

    @property
    def endpoint(self) -> str:
        """Say where it is asked."""
        return f"{self.address or self.host}:{self.port}"


@dataclass(frozen=True)
class Credentials:
    """Who asks."""

    user: str
    password: str | None = field(default=None, repr=False)
    api: Credentials | None = field(default=None, repr=False)
    """Who asks the API of what runs the database, where that has accounts of its own."""


@dataclass(frozen=True)
class Receiver:
    """A standby's own view of the primary it follows."""

    status: str
    timeline: int | None = None
    flushed_lsn: int | None = None
    latest_end_lsn: int | None = None
    message_age_seconds: float | None = None
    sender_host: str | None = None
    sender_port: int | None = None
    slot: str | None = None

    @property
    def complete(self) -> bool:
        """Say whether all is here that the primary had when it sent its last message."""
        return (self.flushed_lsn or 0) >= (self.latest_end_lsn or 0)


@dataclass(frozen=True)
class Attached:
    """A standby as its primary sees it."""

    application_name: str
    state: str
    sync_state: str
    client_address: str | None = None
    sent_lsn: int | None = None
    replay_lsn: int | None = None


@dataclass(frozen=True)
class Slot:
    """A replication slot."""

    name: str
    kind: str
    active: bool
    restart_lsn: int | None = None
    wal_status: str | None = None


@dataclass(frozen=True)
class MemberState:
    """What was seen of one member. Being out of reach is data, not an error."""

    name: str
    endpoint: str
    reachable: bool
    why_not: str | None = None
    cause: str | None = None
    in_recovery: bool | None = None
    system_identifier: str | None = None
    timeline: int | None = None
    current_lsn: int | None = None
    receive_lsn: int | None = None
    replay_lsn: int | None = None
    last_replay_at: float | None = None
    checkpoint_at: float | None = None
    asked_at: float | None = None
    receiver: Receiver | None = None
    attached: tuple[Attached, ...] = ()
    slots: tuple[Slot, ...] = ()
    replay_paused: bool = False
    apply_delay_seconds: float = 0.0
    read_only: bool = False
    synchronous_standby_names: str = ""
    retry_interval_seconds: float | None = None
    version: int | None = None
    data_directory: str | None = None

    @property
    def answers(self) -> bool:
        """Say whether a server runs there, even if it could not be asked."""
        return self.reachable or self.cause in ANSWERED

    @property
    def is_primary(self) -> bool:
        """Say whether it was seen as a primary."""
        return self.reachable and self.in_recovery is False

    @property
    def is_standby(self) -> bool:
        """Say whether it was seen as a standby."""
        return self.reachable and self.in_recovery is True

    @property
    def position(self) -> int | None:
        """Give the last position that it holds: received counts, for it is replayed before a promotion ends."""
        if self.in_recovery is False:
            return self.current_lsn
        known = [lsn for lsn in (self.receive_lsn, self.replay_lsn) if lsn is not None]
        return max(known) if known else None

    @property
    def unreplayed_bytes(self) -> int:
        """Give what it received and has not replayed yet."""
        if self.receive_lsn is None or self.replay_lsn is None:
            return 0
        return max(0, self.receive_lsn - self.replay_lsn)

    @property
    def streaming(self) -> bool:
        """Say whether it is fed by its primary right now."""
        return self.receiver is not None and self.receiver.status == "streaming"


@dataclass(frozen=True)
class Evidence:
    """What one vantage point says about a member: alive, dead, or nothing that counts (None)."""

    vantage: str
    member: str
    observed: str
    alive: bool | None = None
    system_identifier: str | None = None
    fenced: bool = False
    since: str | None = None
    """UTC stamp since when it is so, where the vantage point knows it."""

    def as_dict(self) -> dict[str, Any]:
        """Give it as a task's result carries it."""
        return {
            "vantage": self.vantage,
            "member": self.member,
            "observed": self.observed,
            "alive": self.alive,
            "system_identifier": self.system_identifier,
            "fenced": self.fenced,
            "since": self.since,
        }


@dataclass(frozen=True)
class Known:
    """The primary as it was last seen, from an earlier observation."""

    member: str
    system_identifier: str
    timeline: int | None = None
    lsn: int | None = None
    at: float | None = None


@dataclass(frozen=True)
class DatabaseView:
    """All members of a database at one moment, and what every vantage point says."""

    members: Mapping[str, MemberState]
    evidence: tuple[Evidence, ...] = ()
    known: Known | None = None

    def about(self, name: str) -> tuple[Evidence, ...]:
        """Give the evidence about one member."""
        return tuple(item for item in self.evidence if item.member == name)


@dataclass(frozen=True)
class Loss:
    """What a promotion would lose: seconds at most, bytes where a position is known, and the basis of both."""

    seconds: float | None
    bytes: int | None
    basis: str

    def as_dict(self) -> dict[str, Any]:
        """Give it as a task's result carries it."""
        seconds = None if self.seconds is None else round(self.seconds, 3)
        return {"seconds": seconds, "bytes": self.bytes, "basis": self.basis}


def members_from(data: Mapping[str, Any]) -> dict[str, Member]:
    """Read validated option values into members."""
    members = {}
    for name, entry in data.items():
        values = {
            key: value for key, value in entry.items() if value is not None and key in Member.__dataclass_fields__
        }
        fence = fence_from(values.pop("fence", None), values.get("os_user", Fence.os_user))
        if "patroni" in values:
            values["patroni"] = patroni_from(values["patroni"])
        for kind, place in (("resource", ResourcePlace), ("rds", RdsPlace)):
            if kind in values:
                values[kind] = place(**{k: v for k, v in values[kind].items() if v is not None})
        members[name] = Member(name=name, fence=fence, **values)
    return members


def fence_from(entry: Mapping[str, Any] | None, os_user: str = Fence.os_user) -> Fence:
    """Read how a server is stopped for good; nothing said is no channel."""
    given = {k: v for k, v in (entry or {}).items() if v is not None and k in Fence.__dataclass_fields__}
    return Fence(**{**given, "os_user": os_user})


def patroni_from(entry: Mapping[str, Any]) -> PatroniPlace:
    """Read where Patroni runs a member."""
    given = {k: v for k, v in entry.items() if v is not None and k in PatroniPlace.__dataclass_fields__}
    nodes = tuple(
        PatroniNode(name, node["url"], node.get("host"), node.get("port"), fence_from(node.get("fence")))
        for name, node in given.pop("nodes").items()
    )
    return PatroniPlace(nodes, **given)


def credentials_from(account: Mapping[str, Any]) -> Credentials:
    """Read who asks."""
    api = account.get("api")
    return Credentials(account["user"], account["password"], Credentials(api["user"], api["password"]) if api else None)


def known_member(members: Mapping[str, Member], name: str, key: str) -> Member:
    """Give a member by its name, or say which there are."""
    if name not in members:
        raise BadInput(
            f"{key} names {name!r}, which is no member of this database",
            wanted="one of " + ", ".join(sorted(members)),
            next_action=f"correct {key} and run again",
        )
    return members[name]


def shown_bytes(count: int | None) -> str:
    """Say an amount of bytes the way a person reads it."""
    if count is None:
        return "unknown"
    if count < 1024:
        return f"{count} B"
    step = min(int(math.log(count, 1024)), 4)
    return f"{count / 1024**step:.1f} {('KiB', 'MiB', 'GiB', 'TiB')[step - 1]}"


def shown_seconds(seconds: float | None) -> str:
    """Say a duration the way a person reads it."""
    if seconds is None:
        return "unknown"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
