# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases that Amazon RDS runs: read replicas and Aurora global databases, through RDS' own API.

Requests are made once each, with deadlines; what RDS is still doing is waited for by asking it. Credentials come from
boto3's ordinary chain and are never read here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import BadInput, PreconditionFailed, StepFailed, StepTimeout
from ..service_manager import UnitStatus
from ..waiting import wait_until
from .model import Member
from .places import RdsPlace
from .provided import HandedOver, Provider

try:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:  # said by connect, when it is needed
    boto3 = None

POLL_SECONDS = 2.0
CONNECT_SECONDS, READ_SECONDS = 2.0, 10.0
RETRY = "see what RDS says of it, then run the same again"
FENCED_TAG = "platform.recovery/fenced"
# In these RDS runs no PostgreSQL, and starts none until somebody asks for it.
STOPPED = frozenset({"stopped"})
# What an answer of these says does not change by asking again.
WRONG = frozenset({"DBInstanceNotFound", "DBClusterNotFoundFault", "GlobalClusterNotFoundFault"})
DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnrecognizedClientException", "InvalidClientTokenId"})


@dataclass(frozen=True)
class State:
    """What RDS says of a member."""

    arn: str
    status: str
    replica: bool
    security_groups: Mapping[str, str]
    writers: tuple[str, ...]
    tagged: bool = False

    def quarantined(self, group: str | None) -> bool:
        """Say whether it is behind that security group, and behind no other."""
        return bool(group) and dict(self.security_groups) == {group: "active"}


@dataclass
class Database:
    """One member, asked through the API of its region."""

    member: str
    place: RdsPlace
    guard: Callable[[], None] = field(default=lambda: None, repr=False)
    client: Any = field(default=None, repr=False)

    def call(self, verb: str, **words: Any) -> Any:
        """Make one request. Raises StepFailed, BadInput."""
        if self.client is None:
            self.client = connect(self.place)
        with self._reached(verb):
            return getattr(self.client, verb)(**words)

    def change(self, verb: str, **words: Any) -> Any:
        """Make one request that changes something, if this run still may."""
        self.guard()
        return self.call(verb, **words)

    def read(self) -> State:
        """Ask what it is. Raises StepFailed, BadInput."""
        return self._cluster() if self.place.cluster else self._instance()

    def _instance(self) -> State:
        found = self.call("describe_db_instances", DBInstanceIdentifier=self.place.instance)["DBInstances"][0]
        source = found.get("ReadReplicaSourceDBInstanceIdentifier")
        return State(
            arn=str(found["DBInstanceArn"]),
            status=str(found["DBInstanceStatus"]),
            replica=bool(source),
            security_groups=groups_of(found),
            writers=(self.place.name,),
            tagged=is_tagged(found),
        )

    def _cluster(self) -> State:
        found = self.call("describe_db_clusters", DBClusterIdentifier=self.place.cluster)["DBClusters"][0]
        members = found.get("DBClusterMembers") or []
        return State(
            arn=str(found["DBClusterArn"]),
            status=str(found["Status"]),
            replica=bool(found.get("ReplicationSourceIdentifier")),
            security_groups=groups_of(found),
            writers=tuple(str(m["DBInstanceIdentifier"]) for m in members if m.get("IsClusterWriter")),
            tagged=is_tagged(found),
        )

    @contextlib.contextmanager
    def _reached(self, verb: str) -> Iterator[None]:
        """Turn what boto3 raises into our errors. RDS' own words stay; they hold no secret of ours."""
        doing = f"{verb.replace('_', ' ')} ({self.place.words})"
        try:
            yield
        except ClientError as error:
            said = error.response.get("Error", {})
            code = str(said.get("Code", ""))
            if code in WRONG:
                key = "rds.global_cluster" if "Global" in code else f"members.{self.member}.rds"
                name = self.place.global_cluster if "Global" in code else self.place.words
                raise absent(self.place, str(name), key) from None
            raise StepFailed(
                f"RDS refused to {doing}",
                wanted="RDS does as it is asked",
                observed=f"{code}: {said.get('Message', '')}",
                next_action="grant this right in IAM, then run the same again" if code in DENIED else RETRY,
                code=code,
            ) from None
        except BotoCoreError as error:
            raise StepFailed(
                f"RDS could not be asked to {doing}",
                wanted="an answer of RDS",
                observed=type(error).__name__,
                next_action=f"check the credentials and the way to RDS in {self.place.region}, then run the same again",
            ) from None


def groups_of(found: Mapping[str, Any]) -> dict[str, str]:
    """Read the security groups, and how far each has taken effect."""
    return {str(g["VpcSecurityGroupId"]): str(g["Status"]) for g in found.get("VpcSecurityGroups") or []}


def is_tagged(found: Mapping[str, Any]) -> bool:
    """Say whether a fence of ours was completed."""
    return any(tag.get("Key") == FENCED_TAG for tag in found.get("TagList") or [])


def connect(place: RdsPlace) -> Any:
    """Give a client of the region. A request is made once: an outage goes on while somebody waits here."""
    if boto3 is None:
        raise BadInput(
            "The Python package boto3 is missing in the Python that runs Ansible",
            wanted="boto3, by which RDS is asked",
            next_action="install boto3 there and run again",
        )
    config = Config(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retries={"total_max_attempts": 2})
    return boto3.client("rds", region_name=place.region, config=config)


def status(database: Database) -> UnitStatus:
    """Say what RDS shows of a member, in the terms of any channel that can stop a server for good."""
    try:
        state = database.read()
    except StepFailed as error:
        return UnitStatus(observed=f"{database.place.words}: {error.observed}", answered=False)
    observed = f"{database.place.words} is {state.status}"
    if state.status in STOPPED:
        return UnitStatus(observed, True, "inactive", "masked")
    group = database.place.quarantine_security_group
    if state.quarantined(group) and state.tagged and state.status == "available":
        return UnitStatus(f"{observed}, behind {group} alone", True, "inactive", "masked")
    # RDS stops no instance that has replicas: without a quarantine there is nothing that we could do.
    return UnitStatus(observed, True, "active", "enabled") if group else UnitStatus(observed, answered=False)


def stop_for_good(database: Database, *, seconds: float) -> UnitStatus:
    """Put a member behind the security group that lets nobody in, and end the sessions that were open before.

    A security group keeps new connections out and may let the old ones live: the restart ends them. The tag says that
    it was done; a run that was cut short before restarts once more. Raises StepFailed.
    """
    group = database.place.quarantine_security_group
    state = database.read()
    if not state.quarantined(group):
        if state.tagged:
            database.change("remove_tags_from_resource", ResourceName=state.arn, TagKeys=[FENCED_TAG])
        database.change(
            f"modify_db_{database.place.kind.lower()}",
            **{f"DB{database.place.kind}Identifier": database.place.name},
            VpcSecurityGroupIds=[group],
            ApplyImmediately=True,
        )
        waited(database, lambda seen: seen.quarantined(group), f"to be behind {group} alone", seconds)
    for writer in state.writers:
        database.change("reboot_db_instance", DBInstanceIdentifier=writer)
    waited(database, lambda seen: seen.status == "available", "to have restarted", seconds)
    database.change("add_tags_to_resource", ResourceName=state.arn, Tags=[{"Key": FENCED_TAG, "Value": group}])
    return status(database)


def promote_replica(database: Database, *, seconds: float) -> bool:
    """Have RDS make a read replica a database of its own. Gives whether anything was left to do."""
    if not database.read().replica:
        return False
    database.change("promote_read_replica", DBInstanceIdentifier=database.place.instance)
    waited(database, lambda seen: not seen.replica and seen.status == "available", "to be promoted", seconds)
    return True


@dataclass(frozen=True)
class GlobalMember:
    """A cluster as its global database shows it."""

    arn: str
    writer: bool


@dataclass(frozen=True)
class GlobalState:
    """An Aurora global database."""

    name: str
    status: str
    members: tuple[GlobalMember, ...]
    moving: str | None = None

    def writes(self, arn: str) -> bool:
        """Say whether a cluster is its writer, and nothing is under way."""
        return not self.moving and any(member.writer and member.arn == arn for member in self.members)

    def holds(self, arn: str) -> bool:
        """Say whether a cluster belongs to it."""
        return any(member.arn == arn for member in self.members)


def read_global(database: Database, name: str) -> GlobalState:
    """Ask for the global database, through the region of a member. Raises StepFailed, BadInput."""
    answer = database.call("describe_global_clusters", GlobalClusterIdentifier=name)["GlobalClusters"]
    found = next((entry for entry in answer if entry["GlobalClusterIdentifier"] == name), None)
    if found is None:
        raise absent(database.place, f"Aurora global database {name}", "global_cluster")
    members = found.get("GlobalClusterMembers") or []
    return GlobalState(
        name,
        str(found.get("Status")),
        tuple(GlobalMember(str(m["DBClusterArn"]), bool(m.get("IsWriter"))) for m in members),
        (found.get("FailoverState") or {}).get("Status"),
    )


def move_global(database: Database, name: str, *, lossless: bool, seconds: float) -> bool:
    """Have RDS make a member's cluster the writer of its global database. Gives whether anything was left to do.

    Lossless is a switchover, which RDS only begins in a healthy global database and which makes the old writer a
    reader. Otherwise it is a managed failover, which may lose what had not arrived.
    """
    arn = database.read().arn
    state = read_global(database, name)
    if state.writes(arn):
        return False
    if not state.holds(arn):
        raise PreconditionFailed(
            f"{database.place.words} is no member of the Aurora global database {name}",
            wanted="a member that follows the writer",
            observed=", ".join(member.arn for member in state.members) or "no members",
            next_action="correct members and rds.global_cluster in the platform description",
            gate="operator",
        )
    # One that is under way was begun by an earlier run, or by RDS: it is waited for, never begun twice.
    if not state.moving:
        verb = "switchover_global_cluster" if lossless else "failover_global_cluster"
        words = {} if lossless else {"AllowDataLoss": True}
        database.change(verb, GlobalClusterIdentifier=name, TargetDbClusterIdentifier=arn, **words)
    _wait(database, lambda: read_global(database, name).writes(arn), f"{arn} to be the writer of {name}", seconds)
    return True


def detach_global(database: Database, name: str, *, seconds: float) -> bool:
    """Take a member's cluster out of its global database: RDS makes it a writer of its own. Gives whether it was in."""
    arn = database.read().arn
    if not read_global(database, name).holds(arn):
        return False
    database.change("remove_from_global_cluster", GlobalClusterIdentifier=name, DbClusterIdentifier=arn)
    _wait(database, lambda: not read_global(database, name).holds(arn), f"{arn} to have left {name}", seconds)
    waited(database, lambda seen: not seen.replica and seen.status == "available", "to be promoted", seconds)
    return True


def waited(database: Database, holds: Callable[[State], bool], what: str, seconds: float) -> None:
    """Wait until RDS says of a member what is wanted. Raises StepTimeout."""
    _wait(database, lambda: holds(database.read()), f"{database.place.words} {what}", seconds)


def _wait(database: Database, probe: Callable[[], bool], what: str, seconds: float) -> None:
    try:
        wait_until(probe, seconds=seconds, interval=POLL_SECONDS, describe=what)
    except StepTimeout as error:
        error.fields["changed"] = True
        where = database.place.region
        error.next_action = f"RDS goes on by itself: look at its events in {where}, then run the same again"
        raise


def absent(place: RdsPlace, what: str, key: str) -> BadInput:
    """Make the error of a name that RDS does not know."""
    return BadInput(
        f"There is no {what} in {place.region}",
        wanted="a name that RDS knows there",
        observed="not found",
        next_action=f"correct {key} in the platform description and run again; nothing was touched",
    )


@dataclass
class Rds(Provider):
    """The provider `rds`: the members of one database, each behind the API of its region."""

    members: Mapping[str, Member]
    guard: Callable[[], None] = field(default=lambda: None, repr=False)
    _databases: dict[str, Database] = field(default_factory=dict, repr=False)

    def close(self) -> None:
        """Close all connections."""
        for database in self._databases.values():
            if database.client is not None:
                database.client.close()

    def status(self, name: str, *, seconds: float) -> UnitStatus:
        """Say what RDS shows of a member. Each request has a deadline of its own."""
        del seconds
        return status(self._database(name))

    def stepped_down(self, name: str, *, seconds: float) -> None:
        """RDS carries a switchover through by itself: nothing is left in between."""
        del name, seconds

    def stop_for_good(self, name: str, *, seconds: float) -> UnitStatus:
        """Put a member into its quarantine."""
        return stop_for_good(self._database(name), seconds=seconds)

    def hand_over(self, source: str, target: str, *, seconds: float) -> HandedOver | None:
        """Switch an Aurora global database over, which does both sides at once."""
        new = self._database(target)
        name = new.place.global_cluster
        if not name:
            raise PreconditionFailed(
                f"RDS has no switchover from {source} to a read replica of PostgreSQL",
                wanted="an Aurora global database, or recovery_mode=failover",
                observed=f"{new.place.words} is a read replica",
                next_action="to move it in a window, stop the applications, wait until the replica holds everything, "
                "and use recovery_mode=failover with a recovery_fence_statement",
                gate="operator",
            )
        changed = move_global(new, name, lossless=True, seconds=seconds)
        return HandedOver(f"Aurora made {target} the writer of {name}, and {source} a reader", changed)

    def promote(self, target: str, *, stepped_down: Sequence[str], seconds: float) -> bool:
        """Have RDS promote the target. Where all others are readers, nothing can be lost."""
        clean = len(stepped_down) == len(self.members) - 1
        new = self._database(target)
        name = new.place.global_cluster
        if not name:
            return promote_replica(new, seconds=seconds)
        if clean or new.place.failover == "managed":
            return move_global(new, name, lossless=clean, seconds=seconds)
        return detach_global(new, name, seconds=seconds)

    def _database(self, name: str) -> Database:
        place = self.members[name].rds
        if place is None:
            raise BadInput(
                f"The member {name} has no place in RDS",
                wanted=f"members.{name}.rds",
                next_action="describe it and run again; nothing was touched",
            )
        return self._databases.setdefault(name, Database(name, place, self.guard))
