# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a region consists of, and what was seen of it, as plain immutable data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .. import edge
from ..dns.model import Zone, zones_of
from ..errors import BadInput
from ..postgresql.model import Credentials, Member, MemberState, members_from
from ..postgresql.vantage import Statement

Standing = Literal["lost", "holds the primary", "left", "follows", "stands by", "answers in part", "unclear"]
"""What a region beside the target is: dead for everybody; alive with a primary; alive, and all primaries are in the
target by now; alive with standbys that work; not known to be dead, and without a database that could hold a primary;
alive, but its databases cannot be asked; not reached by us, and by nobody else confirmed to be dead."""


@dataclass(frozen=True)
class Region:
    """The doors at which a region can be asked from outside."""

    name: str
    clusters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    edges: tuple[edge.Place, ...] = ()


@dataclass(frozen=True)
class Database:
    """One database, its members by their regions."""

    name: str
    members: Mapping[str, Member]
    credentials: Credentials = field(repr=False)
    edges: tuple[edge.Place, ...] = ()
    """The target's edges, with the health of the services there that work with this database."""


@dataclass(frozen=True)
class Platform:
    """All that is asked."""

    target: str
    regions: Mapping[str, Region]
    databases: tuple[Database, ...] = ()
    zones: tuple[Zone, ...] = ()

    @property
    def others(self) -> list[str]:
        """Name the regions beside the target."""
        return [name for name in self.regions if name != self.target]


@dataclass(frozen=True)
class View:
    """What was seen: every vantage point's word on every region, and the members of every database by region."""

    target: str
    statements: tuple[Statement, ...]
    databases: Mapping[str, Mapping[str, MemberState]] = field(default_factory=dict)

    def about(self, region: str) -> list[Statement]:
        """Give what is said of a region."""
        return [item for item in self.statements if item.member == region]

    @property
    def moved(self) -> bool:
        """Tell whether every database has its primary in the target, and no other one."""
        return bool(self.databases) and all(
            [region for region, state in states.items() if state.is_primary] == [self.target]
            for states in self.databases.values()
        )


def platform_of(options: Mapping[str, Any]) -> Platform:
    """Read it from validated options. Raises BadInput."""
    accounts = options["credentials"] or {}
    return Platform(
        target=options["target"],
        regions={name: region_of(name, entry) for name, entry in options["regions"].items()},
        databases=tuple(database_of(name, entry, accounts) for name, entry in options["databases"].items()),
        zones=tuple(zones_of({**options, "credentials": accounts})),
    )


def region_of(name: str, entry: Mapping[str, Any]) -> Region:
    """Read one region."""
    places = [
        edge.Place(one, value["url"], (value["path"],), value["ca_file"]) for one, value in entry["edges"].items()
    ]
    return Region(name, entry["clusters"], tuple(places))


def database_of(name: str, entry: Mapping[str, Any], accounts: Mapping[str, Any]) -> Database:
    """Read one database. Raises BadInput."""
    if entry["credentials"] not in accounts:
        raise BadInput(
            f"databases.{name}.credentials is {entry['credentials']!r}",
            wanted="the name of an entry of credentials",
            next_action="correct it in the platform description and run again; nothing was touched",
        )
    account = accounts[entry["credentials"]]
    own = Credentials(account["user"], account["password"])
    places = tuple(edge.Place.of(one) for one in entry["edges"])
    return Database(name, members_from(entry["members"]), own, places)


def named(names: Sequence[str]) -> str:
    """Join names for a sentence."""
    return " and ".join(names) if len(names) < 3 else ", ".join(names[:-1]) + f" and {names[-1]}"
