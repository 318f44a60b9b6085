# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stores of events: a cluster a region, the mirrors between them, and who may be stopped where."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..errors import BadInput
from ..service_manager import Fence

# What MirrorMaker and brokers keep for themselves.
INTERNAL = re.compile(r"__.*|.*[-.]internal|(.*\.)?heartbeats|.*\.replica")
# The group under which a failover leaves where each partition ended in the target; nobody consumes as it.
MARK = "platform.recovery"


class Place(NamedTuple):
    """One partition of a topic."""

    topic: str
    partition: int


@dataclass(frozen=True)
class Account:
    """Who we are for a cluster: its principal has to be one of its super users."""

    user: str
    password: str = field(repr=False, default="")


@dataclass(frozen=True)
class Security:
    """How clusters are spoken to."""

    protocol: str = "SASL_SSL"
    mechanism: str = "PLAIN"
    ca_file: str | None = None


@dataclass(frozen=True)
class Member:
    """The cluster of one region, how mirrors call it, and the units of its brokers and of the mirrors into it."""

    region: str
    bootstrap: tuple[str, ...]
    alias: str
    brokers: tuple[Fence, ...] = ()
    mirrors: tuple[Fence, ...] = ()


@dataclass(frozen=True)
class Store:
    """A store of events and its members."""

    name: str
    members: Mapping[str, Member]
    security: Security
    topics: tuple[str, ...]
    groups: tuple[str, ...]
    account: Account | None = None
    rpo_seconds: float | None = None

    def holds(self, topic: str) -> bool:
        """Tell whether a topic is one of the store's."""
        return not INTERNAL.fullmatch(topic) and matches(self.topics, topic)

    def serves(self, group: str) -> bool:
        """Tell whether a consumer group is one of the store's."""
        return not group.startswith(MARK) and matches(self.groups, group)

    @property
    def named_groups(self) -> list[str]:
        """List the groups that are named, rather than chosen by a pattern."""
        return [group for group in self.groups if re.escape(group).replace("\\-", "-") == group]

    def source_of(self, target: str) -> Member:
        """Give the member that is not the target. Raises BadInput."""
        if target not in self.members:
            raise wrong("target", target, f"a region of {self.name}: {', '.join(self.members)}")
        others = [member for region, member in self.members.items() if region != target]
        if len(others) != 1:
            raise wrong(f"stores.{self.name}.members", sorted(self.members), "two regions, for one mirrors the other")
        return others[0]


def matches(patterns: Sequence[str], name: str) -> bool:
    """Tell whether a name is one of those that are named, or that a pattern gives, as a mirror reads them."""
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def stores_of(options: Mapping[str, Any]) -> list[Store]:
    """Read all stores from validated options. Raises BadInput."""
    return [store_of(name, entry, options["credentials"]) for name, entry in options["stores"].items()]


def store_of(name: str, entry: Mapping[str, Any], credentials: Mapping[str, Any]) -> Store:
    """Read one store."""
    account = None
    if entry["credentials"]:
        if entry["credentials"] not in credentials:
            raise wrong(f"stores.{name}.credentials", entry["credentials"], "the name of an entry of credentials")
        found = credentials[entry["credentials"]]
        account = Account(found["user"], found["password"] or "")
    security = entry["security"] or {}
    if security.get("protocol", "SASL_SSL").startswith("SASL") and account is None:
        raise wrong(
            f"stores.{name}.credentials", None, "the name of an entry of credentials, for SASL needs an account"
        )
    for key in ("topics", "groups"):
        for pattern in entry[key]:
            require_pattern(f"stores.{name}.{key}", pattern)
    return Store(
        name=name,
        members={region: member_of(region, row) for region, row in entry["members"].items()},
        security=Security(**{key: value for key, value in security.items() if value is not None}),
        topics=tuple(entry["topics"]),
        groups=tuple(entry["groups"]),
        account=account,
        rpo_seconds=(entry["objectives"] or {}).get("rpo_seconds"),
    )


def require_pattern(key: str, pattern: str) -> None:
    """Refuse what is no pattern."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise wrong(key, pattern, f"a name or a regular expression ({error})") from None


def member_of(region: str, row: Mapping[str, Any]) -> Member:
    """Read the cluster of one region."""
    return Member(
        region,
        tuple(row["bootstrap"]),
        row["alias"] or region,
        tuple(fence_of(one) for one in row["brokers"]),
        tuple(fence_of(one) for one in row["mirrors"]),
    )


def fence_of(row: Mapping[str, Any]) -> Fence:
    """Read where a unit is."""
    return Fence(method="systemd", **row)


def wrong(key: str, value: Any, wanted: str) -> BadInput:
    """Say that the description holds something that cannot be."""
    return BadInput(
        f"{key} is {value!r}",
        wanted=wanted,
        next_action="correct it in the platform description and run again; nothing was touched",
    )
