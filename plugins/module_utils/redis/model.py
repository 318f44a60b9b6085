# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Redis store: its servers and the Sentinels that watch it, and what each of them says, as plain immutable data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import BadInput
from ..service_manager import Fence

# The option paths whose suboptions describe each value of a mapping with free keys.
MAPS = frozenset({"stores", "stores.members", "credentials"})
Role = Literal["primary", "replica"]
# Why a server was not asked: it turned us away, or whatever answers there is not what the inventory says.
TURNED_AWAY = frozenset({"authentication", "tls"})


@dataclass(frozen=True)
class Account:
    """Who we are for a server."""

    user: str | None = None
    password: str | None = field(repr=False, default=None)


@dataclass(frozen=True)
class Tls:
    """How a connection is kept private, and who is trusted."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    check_hostname: bool = True


@dataclass(frozen=True)
class Place:
    """Where a server or a Sentinel listens, and how it is spoken to."""

    host: str
    port: int
    account: Account = field(default_factory=Account)
    tls: Tls | None = None

    @property
    def words(self) -> str:
        """Name it for people."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Member:
    """One region's server. Other servers reach it at `address`, which is what Sentinel calls it."""

    name: str
    place: Place
    address: str | None = None
    port: int | None = None
    fence: Fence = field(default_factory=lambda: Fence(unit="redis-server"))
    config_file: str = "/etc/redis/redis.conf"


@dataclass(frozen=True)
class Sentinel:
    """One Sentinel, with the region that it is lost with."""

    place: Place
    region: str | None = None


@dataclass(frozen=True)
class Store:
    """A primary, its replicas, and the Sentinels that lead clients to it."""

    name: str
    master_name: str
    members: Mapping[str, Member]
    sentinels: tuple[Sentinel, ...]
    rpo_seconds: float | None = None


@dataclass(frozen=True)
class MemberState:
    """What a server says of itself, or why it says nothing."""

    name: str
    role: Role | None = None
    cause: str | None = None
    why_not: str | None = None
    run_id: str = ""
    version: str = ""
    replid: str = ""
    replid2: str = ""
    offset: int = 0
    promoted_at: int = -1
    """The first offset of its own, where it was promoted; what it had from its former primary ends before it."""
    follows: tuple[str, int] | None = None
    link_up: bool = False
    silent_seconds: float | None = None
    """Of a replica: for how long it has heard nothing from its primary."""
    priority: int = 100
    announced: tuple[str, int] | None = None
    keys: int = 0
    room: int | None = None
    """How many bytes its data may take; None is no limit."""

    @property
    def reachable(self) -> bool:
        """Tell whether it answered."""
        return self.role is not None

    @property
    def words(self) -> str:
        """Say it in a few words."""
        if self.role == "primary":
            return f"answers as primary at offset {self.offset}"
        if self.role == "replica":
            follows = "{}:{}".format(*self.follows) if self.follows else "nobody"
            return f"answers as replica of {follows}, link {'up' if self.link_up else 'down'}, at offset {self.offset}"
        return self.why_not or "does not answer"


@dataclass(frozen=True)
class Known:
    """A replica as a Sentinel knows it."""

    address: tuple[str, int]
    run_id: str
    flags: frozenset[str]
    priority: int
    offset: int = 0


@dataclass(frozen=True)
class SentinelState:
    """What a Sentinel says of a store, or why it says nothing."""

    sentinel: Sentinel
    cause: str | None = None
    why_not: str | None = None
    primary: tuple[str, int] | None = None
    run_id: str = ""
    flags: frozenset[str] = frozenset()
    epoch: int = 0
    quorum: int = 0
    others: int = 0
    replicas: tuple[Known, ...] = ()

    @property
    def reachable(self) -> bool:
        """Tell whether it answered and knows the store."""
        return self.primary is not None

    @property
    def words(self) -> str:
        """Say it in a few words."""
        if self.primary is None:
            return f"Sentinel {self.sentinel.place.words}: {self.why_not or 'does not answer'}"
        return "Sentinel {}: primary is {}:{}, epoch {}".format(self.sentinel.place.words, *self.primary, self.epoch)


def descends(new: MemberState, old: MemberState) -> bool:
    """Tell whether one server was promoted from the history that the other still writes: the other is stale."""
    return bool(old.replid) and new.replid != old.replid and new.replid2 == old.replid


def lost_bytes(new: MemberState, old: MemberState) -> int | None:
    """Count what the old primary wrote after the new one was promoted from it; None where they do not compare."""
    if not descends(new, old) or new.promoted_at < 0:
        return None
    return max(0, old.offset - (new.promoted_at - 1))


def stores_of(options: Mapping[str, Any]) -> list[Store]:
    """Read all stores from validated options. Raises BadInput."""
    return [store_of(name, entry, options) for name, entry in options["stores"].items()]


def store_of(name: str, entry: Mapping[str, Any], options: Mapping[str, Any]) -> Store:
    """Read one store. Raises BadInput."""
    if options["target"] not in entry["members"]:
        regions = ", ".join(entry["members"])
        raise wrong("target", options["target"], f"a region where {name} has a member: {regions}")
    tls = None
    if entry["tls"]:
        tls = Tls(entry["ca_file"], entry["cert_file"], entry["key_file"], entry["check_hostname"])
    account = account_of(f"stores.{name}.credentials", entry["credentials"], options["credentials"])
    named = entry["sentinel_credentials"]
    other = account_of(f"stores.{name}.sentinel_credentials", named, options["credentials"]) if named else account
    members = {
        region: member_of(region, row, Place(row["host"], row["port"], account, tls))
        for region, row in entry["members"].items()
    }
    sentinels = tuple(
        Sentinel(Place(row["host"], row["port"], other, tls), row["region"]) for row in entry["sentinels"]
    )
    goals = entry["objectives"] or {}
    return Store(name, entry["master_name"] or name, members, sentinels, goals.get("rpo_seconds"))


def member_of(region: str, row: Mapping[str, Any], place: Place) -> Member:
    """Read one region's server; nothing said of a fence is no channel."""
    given = {key: value for key, value in (row["fence"] or {}).items() if value is not None}
    fence = Fence(**{"unit": "redis-server", **given})
    return Member(region, place, row["address"], row["address_port"], fence, row["config_file"])


def account_of(key: str, name: str | None, credentials: Mapping[str, Any]) -> Account:
    """Find the account of this name. Raises BadInput."""
    if not name:
        return Account()
    if name not in credentials:
        raise wrong(key, name, "the name of an entry of credentials")
    return Account(credentials[name]["user"], credentials[name]["password"])


def wrong(key: str, value: Any, wanted: str) -> BadInput:
    """Say that the description holds something that cannot be."""
    return BadInput(
        f"{key} is {value!r}",
        wanted=wanted,
        next_action="correct it in the platform description and run again; nothing was touched",
    )
