# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a provider with an API of its own does in place of a service manager and of SQL; which one a database has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from .model import Member
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
