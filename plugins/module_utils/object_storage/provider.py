# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every kind of store has in common: two doors into a bucket, and the way on to the other region.

Applications write through the one door, the other region's store through the other. A primary has the first one open
and the second shut, a standby the reverse. So nothing that a lost region still sends, or still accepts, can mix with
what the new primary holds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from .api import LOST_SECONDS, READ_SECONDS, Api
from .model import Member, Store

WRITES, ARRIVALS = "writes", "arrivals"
PRIMARY, SINCE = "recovery-primary", "recovery-since"
# What is denied to whoever stands before a shut door.
WRITING = (
    "s3:PutObject",
    "s3:PutObjectTagging",
    "s3:PutObjectVersionTagging",
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:DeleteObjectTagging",
    "s3:DeleteObjectVersionTagging",
)
REPLICATING = ("s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags")


@dataclass(frozen=True)
class Way:
    """The replication out of a bucket: where it leads, and whether everything goes there."""

    bucket: str
    endpoint: str | None
    whole: bool


@dataclass(frozen=True)
class Side:
    """One region's bucket as it is, or why it could not be asked."""

    member: Member
    trouble: str | None = None
    versioned: bool = False
    writes: bool = False
    arrivals: bool = False
    way: Way | None = None

    @property
    def reached(self) -> bool:
        """Tell whether it answered."""
        return self.trouble is None

    @property
    def primary(self) -> bool:
        """Tell whether it is fully a primary: applications write, and nobody replicates into it."""
        return self.reached and self.writes and not self.arrivals

    def leads_to(self, other: Member) -> bool:
        """Tell whether everything written here goes to the other one."""
        way = self.way
        return way is not None and way.whole and way.bucket == other.bucket and way.endpoint in (None, host(other))


def host(member: Member) -> str | None:
    """Give host and port by which the other region's store reaches this one."""
    return member.peer_endpoint.partition("://")[2].rstrip("/") if member.peer_endpoint else None


class Provider(ABC):
    """One region's bucket, and how its store does what a recovery needs."""

    def __init__(self, store: Store, member: Member, *, lost: bool = False) -> None:
        self.store, self.member = store, member
        self.api = Api(member, LOST_SECONDS if lost else READ_SECONDS)

    def look(self) -> Side:
        """See how it is. Raises StepFailed, Unreachable."""
        versioning = self.api.call("get_bucket_versioning").get("Status") == "Enabled"
        return Side(
            self.member,
            versioned=versioning,
            writes=self.is_open(WRITES),
            arrivals=self.is_open(ARRIVALS),
            way=self.way(),
        )

    @abstractmethod
    def is_open(self, door: str) -> bool:
        """Tell whether somebody may come through a door."""

    @abstractmethod
    def shut(self, door: str) -> None:
        """Let nobody through a door."""

    @abstractmethod
    def open(self, door: str) -> None:
        """Let those through whom the store's own rules allow."""

    @abstractmethod
    def way(self) -> Way | None:
        """Give where it replicates to."""

    @abstractmethod
    def lead(self, other: Member) -> None:
        """Replicate everything to the other region from now on."""

    def mark(self, primary: str, since: str) -> None:
        """Write down who is primary from now on: guards read it, we do not. Who is primary is seen from the doors."""
        found = self.api.call("get_bucket_tagging", missing=("NoSuchTagSet",)) or {"TagSet": []}
        kept = [row for row in found["TagSet"] if row["Key"] not in (PRIMARY, SINCE)]
        kept += [{"Key": PRIMARY, "Value": primary}, {"Key": SINCE, "Value": since}]
        self.api.call("put_bucket_tagging", Tagging={"TagSet": kept})

    def stop(self) -> None:
        """Replicate nowhere."""
        self.api.call("delete_bucket_replication", missing=("ReplicationConfigurationNotFoundError",))

    def catch_up(self) -> str:
        """Have what was written before also replicated; give what is left to do by hand, if anything."""
        return ""
