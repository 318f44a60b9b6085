# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names, where they may lead, and who answers for them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import BadInput

ADDRESSES = ("A", "AAAA")


@dataclass(frozen=True)
class NameServer:
    """An authoritative server or a resolver."""

    address: str
    port: int = 53
    region: str | None = None

    @property
    def words(self) -> str:
        """Name it for people."""
        return self.address if self.port == 53 else f"{self.address}:{self.port}"


@dataclass(frozen=True)
class Target:
    """What a region gives the names of a zone: values, and the URL that has to answer before a name may lead there."""

    values: frozenset[str]
    probe: str
    ca_file: str | None = None


@dataclass(frozen=True)
class Record:
    """One name of one type, with its values in each region."""

    name: str
    type: str
    values: Mapping[str, frozenset[str]]

    @property
    def key(self) -> tuple[str, str]:
        """Give what tells it from all others."""
        return (self.name, self.type)

    def region_of(self, values: frozenset[str]) -> str | None:
        """Name the region that these values belong to; None for values that nobody described."""
        return next((region for region, known in self.values.items() if known == values), None)


@dataclass(frozen=True)
class Account:
    """Who we are for a provider: an access key, or a TSIG key."""

    user: str
    password: str = field(repr=False, default="")


@dataclass(frozen=True)
class Zone:
    """A zone and its names that move with a region."""

    name: str
    provider: str
    targets: Mapping[str, Target]
    records: tuple[Record, ...]
    servers: tuple[NameServer, ...]
    resolvers: tuple[NameServer, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    account: Account | None = None


@dataclass(frozen=True)
class Change:
    """One thing to be changed, in words, with the names that it moves and what the provider needs to do it."""

    what: str
    before: str
    after: str
    names: tuple[str, ...]
    payload: Any = field(repr=False, compare=False, default=None)


def absolute(name: str) -> str:
    """Write a name as DNS compares it."""
    return name.rstrip(".").lower() + "."


def short(name: str) -> str:
    """Write a name as people read it."""
    return name.rstrip(".")


def normal(value: str, kind: str) -> str:
    """Write a value as it is compared: addresses in one form, names absolute, anything else as it is."""
    if kind in ADDRESSES:
        try:
            return str(ipaddress.ip_address(value))
        except ValueError:
            return absolute(value)  # an alias
    return absolute(value) if kind == "CNAME" else value


def is_address(value: str) -> bool:
    """Tell an address from the name that an alias leads to."""
    return not value.endswith(".")


def shown(values: frozenset[str]) -> str:
    """Write values for people."""
    return ", ".join(sorted(values)) or "nothing"


def zones_of(options: Mapping[str, Any]) -> list[Zone]:
    """Read all zones from validated options. Raises BadInput."""
    return [zone_of(name, entry, options["credentials"]) for name, entry in options["zones"].items()]


def zone_of(name: str, entry: Mapping[str, Any], credentials: Mapping[str, Any]) -> Zone:
    """Read one zone."""
    account = None
    if entry["credentials"]:
        if entry["credentials"] not in credentials:
            raise wrong(f"zones.{name}.credentials", entry["credentials"], "the name of an entry of credentials")
        found = credentials[entry["credentials"]]
        account = Account(found["user"], found["password"] or "")
    settings = entry[section(entry["provider"])]
    if settings is None and section(entry["provider"]) != "route53":
        raise wrong(f"zones.{name}.{section(entry['provider'])}", None, "the provider's own settings")
    targets = {region: target_of(value) for region, value in entry["targets"].items()}
    return Zone(
        name=absolute(name),
        provider=entry["provider"],
        targets=targets,
        records=tuple(record_of(name, row, targets) for row in entry["records"]),
        servers=servers_of(entry["servers"]),
        resolvers=servers_of(entry["resolvers"]),
        settings=settings or {},
        account=account,
    )


def section(provider: str) -> str:
    """Name the part of a zone that holds a provider's own settings."""
    return "route53" if provider.startswith("route53") else provider


def target_of(value: Mapping[str, Any]) -> Target:
    """Read what a region gives."""
    return Target(frozenset(value["values"]), value["probe"], value["ca_file"])


def record_of(zone: str, row: Mapping[str, Any], targets: Mapping[str, Target]) -> Record:
    """Read one record; a region that it says nothing of gives it what it gives the zone."""
    kind, own = row["type"], row["values"] or {}
    if absolute(row["name"]) != absolute(zone) and not absolute(row["name"]).endswith("." + absolute(zone)):
        raise wrong(f"zones.{zone}.records.name", row["name"], f"a name in {zone}")
    for region, given in own.items():
        if not isinstance(given, list):
            raise wrong(f"zones.{zone}.records.values.{region}", given, "a list of values")
    values = {region: frozenset(own.get(region, target.values)) for region, target in targets.items()}
    values |= {region: frozenset(given) for region, given in own.items()}
    compared = {region: frozenset(normal(str(value), kind) for value in given) for region, given in values.items()}
    return Record(absolute(row["name"]), kind, compared)


def servers_of(rows: list[Mapping[str, Any]]) -> tuple[NameServer, ...]:
    """Read name servers."""
    return tuple(NameServer(row["address"], row["port"], row.get("region")) for row in rows)


def wrong(key: str, value: Any, wanted: str) -> BadInput:
    """Say that the description holds something that cannot be."""
    return BadInput(
        f"{key} is {value!r}",
        wanted=wanted,
        next_action="correct it in the platform description and run again; nothing was touched",
    )
