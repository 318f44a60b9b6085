# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stores of objects that two regions keep, and who may write into which of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import BadInput


@dataclass(frozen=True)
class Account:
    """An access key and its secret."""

    user: str
    password: str = field(repr=False, default="")


@dataclass(frozen=True)
class Member:
    """A region's bucket."""

    region: str
    bucket: str
    endpoint: str | None
    # How the other region's server reaches this one.
    peer_endpoint: str | None
    signing_region: str
    ca_file: str | None = None
    account: Account | None = None
    # Under which the other region's server writes here.
    replicator: Account | None = None
    # By which this bucket replicates into the other one, where the store asks for a role.
    replication_role: str | None = None

    @property
    def words(self) -> str:
        """Name it for people."""
        return f"{self.bucket} in {self.region}"


@dataclass(frozen=True)
class Store:
    """The same objects in two regions."""

    name: str
    provider: str
    members: Mapping[str, Member]
    writers: tuple[str, ...]
    rpo_seconds: float

    def other(self, region: str) -> Member:
        """Give the member of the other region."""
        return next(member for name, member in self.members.items() if name != region)


def stores_of(options: Mapping[str, Any]) -> list[Store]:
    """Read all stores from validated options. Raises BadInput."""
    return [store_of(name, entry, options["credentials"]) for name, entry in options["stores"].items()]


def store_of(name: str, entry: Mapping[str, Any], credentials: Mapping[str, Any]) -> Store:
    """Read one store."""
    if len(entry["members"]) != 2:
        raise wrong(f"stores.{name}.members", ", ".join(entry["members"]), "two regions")
    members = {region: member_of(name, region, row, credentials) for region, row in entry["members"].items()}
    if entry["provider"] == "minio":
        require_minio(name, entry, members)
    return Store(
        name=name,
        provider=entry["provider"],
        members=members,
        writers=tuple(entry["writers"]),
        rpo_seconds=entry["objectives"]["rpo_seconds"] if entry["objectives"] else 3600.0,
    )


def require_minio(name: str, entry: Mapping[str, Any], members: Mapping[str, Member]) -> None:
    """Name what MinIO cannot do without. Raises BadInput."""
    if not entry["writers"]:
        raise wrong(f"stores.{name}.writers", [], "the access keys of the applications that write")
    for member in members.values():
        key = f"stores.{name}.members.{member.region}"
        for word in ("endpoint", "account", "replicator"):
            if not getattr(member, word):
                raise wrong(f"{key}.{'credentials' if word == 'account' else word}", None, "MinIO needs it")


def member_of(store: str, region: str, row: Mapping[str, Any], credentials: Mapping[str, Any]) -> Member:
    """Read a region's bucket."""
    key = f"stores.{store}.members.{region}"
    return Member(
        region=region,
        bucket=row["bucket"],
        endpoint=row["endpoint"],
        peer_endpoint=row["peer_endpoint"] or row["endpoint"],
        signing_region=row["signing_region"] or region,
        ca_file=row["ca_file"],
        account=account_of(f"{key}.credentials", row["credentials"], credentials),
        replicator=account_of(f"{key}.replicator", row["replicator"], credentials),
        replication_role=row["replication_role"],
    )


def account_of(key: str, name: str | None, credentials: Mapping[str, Any]) -> Account | None:
    """Read the account that is named."""
    if name is None:
        return None
    if name not in credentials:
        raise wrong(key, name, "the name of an entry of credentials")
    return Account(credentials[name]["user"], credentials[name]["password"] or "")


def wrong(key: str, value: Any, wanted: str) -> BadInput:
    """Say that the description holds something that cannot be."""
    return BadInput(
        f"{key} is {value!r}",
        wanted=wanted,
        next_action="correct it in the platform description and run again; nothing was touched",
    )
