# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a provider with an API of its own does in place of a service manager and of SQL; which one a database has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from ..errors import PreconditionFailed
from ..service_manager import UnitStatus
from .decide import Gate
from .model import Credentials, DatabaseView, Member, MemberState


@dataclass(frozen=True)
class HandedOver:
    """What a provider's own switchover left behind."""

    observed: str
    changed: bool
    final_lsn: int | None = None


@dataclass(frozen=True)
class Hindrance:
    """What keeps a member from being made the primary."""

    observed: str
    wanted: str
    next_action: str


@dataclass(frozen=True)
class Remark:
    """What a provider finds about its own readiness: a check, whether it is good (None: cannot be told), the mend."""

    check: str
    good: bool | None
    observed: str
    wanted: str
    mend: str


class Provider(Protocol):
    """One database, through the API of what runs it. Whatever changes something asks the guard first."""

    manages_hosts: bool = False
    """Whether its fence is that of its hosts' service managers, which know what lives."""

    def status(self, name: str, *, seconds: float) -> UnitStatus:
        """Say what is known of a member's fence. One that could not be fenced by this has not answered."""

    def stepped_down(self, name: str, *, seconds: float) -> str | None:
        """Say how it shows that a member which is a standby now was the primary and handed over without loss."""

    def stop_for_good(self, name: str, *, seconds: float) -> UnitStatus:
        """Have a member stopped so that it stays stopped, and look for the proof until the time is up."""

    def hand_over(self, source: str, target: str, *, seconds: float) -> HandedOver | None:
        """Take a living primary out of service without loss; None where SQL does that and a stop follows."""

    def promote(self, target: str, *, stepped_down: Sequence[str], seconds: float) -> bool:
        """Have the target made the primary. Gives whether anything was left to say; SQL shows what came of it.

        `stepped_down` are the members that are standbys now, one of which may have handed over without loss.
        """

    def taken_back(self, name: str, target: str, *, seconds: float) -> str | None:
        """Say how it shows that a member is being made a standby of the target, which is the primary."""
        del name, target, seconds
        return None

    def hindrance(self, target: str, source: str | None, *, seconds: float) -> Hindrance | None:
        """Say what would keep the target from becoming the primary in place of a living source, or of a lost one.

        It is asked before anything is touched. One that cannot tell before has none.
        """
        del target, source, seconds
        return None

    def examine(self, name: str, *, seconds: float) -> Sequence[Remark]:
        """Check what only it knows of a member's readiness, and change nothing."""
        del name, seconds
        return ()

    def close(self) -> None:
        """Close all connections."""


@contextmanager
def provider_of(
    members: Mapping[str, Member], guard: Callable[[], None], credentials: Credentials | None = None
) -> Iterator[Provider | None]:
    """Give the provider of a database by its members; None where service managers and SQL do it all."""
    # Each is loaded where it is needed only: boto3 alone takes as long as a promotion.
    provider: Provider | None = None
    if any(member.resource for member in members.values()):
        from .provider_kubernetes import KubernetesResource

        provider = KubernetesResource(members, guard)
    elif any(member.rds for member in members.values()):
        from .provider_rds import Rds

        provider = Rds(members, guard)
    elif any(member.patroni for member in members.values()):
        from .provider_patroni import Patroni

        provider = Patroni(members, guard, credentials.api if credentials else None)
    try:
        yield provider
    finally:
        if provider:
            provider.close()


def is_provided(members: Mapping[str, Member]) -> bool:
    """Say whether something with an API of its own runs the database."""
    return any(member.resource or member.rds or member.patroni for member in members.values())


def gate(provider: Provider | None, target: str, source: str | None, seconds: float) -> Gate | None:
    """Give the decision whether the provider could make the target the primary."""
    found = provider.hindrance(target, source, seconds=seconds) if provider else None
    if found is None:
        return None
    return Gate("provider", found.observed, found.wanted, "refuse", next_action=found.next_action)


def comes_back(member: Member, primary: str | None) -> str:
    """Say how a member that was replaced becomes a standby of the primary: by what runs it, in its own way."""
    if member.rds and member.rds.global_cluster:
        if member.rds.failover == "managed":
            return f"RDS takes {member.name} back as a reader by itself: see describe_global_clusters"
        return f"add a new cluster in {member.rds.region} to the global database of {primary} in place of {member.name}"
    if member.rds:
        return (
            f"make a new read replica of {primary} in {member.rds.region} (create_db_instance_read_replica), and keep "
            f"{member.name} until what only it holds has been looked at"
        )
    if member.patroni:
        return comes_back_to_patroni(member, primary)
    name = f"{member.resource.namespace}/{member.resource.name}" if member.resource else member.name
    if member.resource and member.resource.flavour == "zalando":
        return (
            f"look at what only {member.name} holds, then delete the postgresql {name} and submit it anew with a "
            f"section standby that names {primary}"
        )
    return (
        f"look at what only {member.name} holds, then have CloudNativePG clone {member.name} anew: delete the Cluster "
        f"{name} with its volumes, and create it with spec.replica.primary and source naming {primary}"
    )


def comes_back_to_patroni(member: Member, primary: str | None) -> str:
    """Say how a member that Patroni runs comes back: Patroni rewinds it, or clones it anew, by itself."""
    place = member.patroni
    nodes = ", ".join(node.name for node in place.nodes) if place else member.name
    first = f"save what only {member.name} holds, for Patroni rewinds it over that; "
    start = f"unmask and start the Patroni of {nodes} (systemctl unmask, systemctl start)"
    if place and place.topology == "standby_cluster":
        return (
            f"{first}then make its cluster a standby cluster of {primary} before it starts (patronictl edit-config, "
            f"section standby_cluster: its own DCS still calls it a primary), and {start}"
        )
    return f"{first}then {start}"


def rejoin_lines(members: Mapping[str, Member], view: DatabaseView, primary: str | None) -> tuple[list[str], list[str]]:
    """Say what is to be done with each old primary: lines and next actions."""
    lines: list[str] = []
    actions: list[str] = []
    for name, state in view.members.items():
        if name == primary:
            continue
        if state.is_standby and state.streaming:
            lines.append(f"{name} follows already")
            continue
        lines.append(f"{name} does not follow {primary}")
        actions.append(comes_back(members[name], primary))
    return lines, actions


def refuse_rebuild(member: Member, state: MemberState, primary: str) -> None:
    """Leave a member alone whose data belong to what runs it. Raises PreconditionFailed."""
    if not (member.resource or member.rds or member.patroni) or (state.is_standby and state.streaming):
        return
    raise PreconditionFailed(
        f"{member.name} does not follow {primary}, and only what runs it may rebuild it",
        wanted=f"{member.name} streams from {primary}",
        observed=state.why_not or ("it is a standby without a stream" if state.is_standby else "it answers as primary"),
        next_action=f"{comes_back(member, primary)}; then run again",
        gate="rejoin",
    )
