# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every way of moving names has in common."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..errors import PreconditionFailed, StepFailed
from .model import Change, NameServer, Record, Zone, short, shown


class Conflict(StepFailed):
    """What was to be changed is no longer what it was when the plan was made. Nothing of this batch was changed."""


@dataclass
class Work:
    """The surroundings of a provider: until when it may go on, and what it asks before each change."""

    deadline: float
    query_seconds: float = 2.0
    healthy_seconds: float = 0.0
    guard: Callable[[], None] = field(default=lambda: None, repr=False)
    notes: list[str] = field(default_factory=list)
    changed: bool = False

    def left(self) -> float:
        """Give the seconds that are left."""
        return max(0.0, self.deadline - time.monotonic())


class Provider(ABC):
    """Moves the names of one zone."""

    # Whether the name servers may lead elsewhere by themselves, so that they can be right while the API is down.
    answers_alone = False

    def __init__(self, zone: Zone, work: Work) -> None:
        self.zone, self.work = zone, work

    @abstractmethod
    def plan(self, target: str) -> list[Change]:
        """Look at what is, and give what has to be changed so that all names lead to the target.

        Raises PreconditionFailed where that is not possible or not safe, BadInput, StepFailed.
        """

    @abstractmethod
    def apply(self, changes: Sequence[Change]) -> None:
        """Make changes that were planned. Raises Conflict, StepFailed."""

    def servers(self) -> tuple[NameServer, ...]:
        """Give the authoritative servers that are known without asking anybody."""
        return self.zone.servers


def unknown(record: Record, found: frozenset[str], target: str) -> PreconditionFailed:
    """Refuse to overwrite what nobody described."""
    described = "; ".join(f"{region}: {shown(values)}" for region, values in record.values.items())
    return PreconditionFailed(
        f"{short(record.name)} {record.type} is not as it is described, so somebody else has changed it",
        wanted=f"the values of a region ({described})",
        observed=shown(found),
        next_action=f"find out who changed it; correct the record or the description, then run to {target} again",
        gate=f"record {short(record.name)}",
    )


def impossible(record: Record, why: str, mend: str) -> PreconditionFailed:
    """Refuse what this provider cannot do."""
    return PreconditionFailed(
        f"{short(record.name)} {record.type} cannot be moved",
        wanted="a record that this provider can move",
        observed=why,
        next_action=mend,
        gate=f"record {short(record.name)}",
    )
