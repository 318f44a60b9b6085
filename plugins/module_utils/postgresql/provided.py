# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a provider with an API of its own does in place of a service manager and of SQL; which one a database has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from ..errors import PreconditionFailed
from .model import DatabaseView, Member, MemberState
from .service_manager import UnitStatus


@dataclass(frozen=True)
class HandedOver:
    """What a provider's own switchover left behind."""

    observed: str
    changed: bool
    final_lsn: int | None = None


class Provider(Protocol):
    """One database, through the API of what runs it. Whatever changes something asks the guard first."""

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

    def close(self) -> None:
        """Close all connections."""


@contextmanager
def provider_of(members: Mapping[str, Member], guard: Callable[[], None]) -> Iterator[Provider | None]:
    """Give the provider of a database by its members; None where service managers and SQL do it all."""
    # Each is loaded where it is needed only: boto3 alone takes as long as a promotion.
    provider: Provider | None = None
    if any(member.resource for member in members.values()):
        from .provider_kubernetes import KubernetesResource

        provider = KubernetesResource(members, guard)
    elif any(member.rds for member in members.values()):
        from .provider_rds import Rds

        provider = Rds(members, guard)
    try:
        yield provider
    finally:
        if provider:
            provider.close()


def is_provided(members: Mapping[str, Member]) -> bool:
    """Say whether something with an API of its own runs the database."""
    return any(member.resource or member.rds for member in members.values())


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
    if not (member.resource or member.rds) or (state.is_standby and state.streaming):
        return
    raise PreconditionFailed(
        f"{member.name} does not follow {primary}, and only what runs it may rebuild it",
        wanted=f"{member.name} streams from {primary}",
        observed=state.why_not or ("it is a standby without a stream" if state.is_standby else "it answers as primary"),
        next_action=f"{comes_back(member, primary)}; then run again",
        gate="rejoin",
    )
