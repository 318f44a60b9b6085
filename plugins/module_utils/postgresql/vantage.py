# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who says what of a primary that we do not reach, and whether that is enough to replace it. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .model import Evidence

Says = Literal["lost", "alive", "cannot say"]
Outcome = Literal["confirmed", "disagreement", "too few"]

KINDS = ("sql", "standby", "kubernetes", "edge", "service manager")
NEEDED_KINDS = 2

# What these call alive is not: a server that is starting answers to SQL, a service is ready by its last probe, and a
# frozen process is an active unit.
NO_PROOF_OF_LIFE = frozenset({"sql", "kubernetes", "service manager"})


@dataclass(frozen=True)
class Statement:
    """What one vantage point says of one member. One that cannot say counts neither way."""

    vantage: str
    member: str
    says: Says
    observed: str
    since: str | None = None

    @property
    def kind(self) -> str:
        """Say what kind of look it is. Two of one kind fail together, so they count once."""
        known = (kind for kind in KINDS if self.vantage == kind or self.vantage.startswith(f"{kind} "))
        return next(known, self.vantage)

    @property
    def seen(self) -> str:
        """Say what was observed, and since when."""
        told = self.since is None or self.since in self.observed
        return self.observed if told else f"{self.observed}, since {self.since}"

    def as_dict(self) -> dict[str, Any]:
        """Give it as the journal carries it."""
        return {
            "vantage": self.vantage,
            "member": self.member,
            "says": self.says,
            "observed": self.observed,
            "since": self.since,
        }


@dataclass(frozen=True)
class Finding:
    """What all statements come to, in words that a gate can show."""

    outcome: Outcome
    observed: str
    table: tuple[str, ...]


def state(evidence: Evidence) -> Statement:
    """Turn what was seen into what that says."""
    unsure = Statement(evidence.vantage, evidence.member, "cannot say", evidence.observed, evidence.since)
    if evidence.alive is None or (evidence.alive and unsure.kind in NO_PROOF_OF_LIFE):
        return unsure
    says: Says = "alive" if evidence.alive else "lost"
    return Statement(evidence.vantage, evidence.member, says, evidence.observed, evidence.since)


def weigh(statements: Sequence[Statement], replaced: Iterable[str]) -> Finding:
    """Decide whether the loss of the members to be replaced is confirmed.

    Each needs vantage points of two different kinds that call it lost, and none at which anything lives: one that is
    not known to be lost may hold the primary.
    """
    outcome: Outcome = "confirmed"
    if any(len(kinds_that_say("lost", statements, name)) < NEEDED_KINDS for name in replaced):
        outcome = "too few"
    if any(item.says == "alive" for item in statements):
        outcome = "disagreement"
    return Finding(outcome, in_a_line(statements), tuple(table(statements)))


def kinds_that_say(says: Says, statements: Iterable[Statement], member: str) -> set[str]:
    """Give the kinds of vantage points that say so of a member."""
    return {item.kind for item in statements if item.says == says and item.member == member}


def disagreement(statements: Sequence[Statement]) -> str | None:
    """Say where one vantage point proves life and another sees none."""
    for name in dict.fromkeys(item.member for item in statements):
        alive, lost = (
            [f"{item.vantage}: {item.seen}" for item in statements if (item.member, item.says) == (name, says)]
            for says in ("alive", "lost")
        )
        if alive and lost:
            return f"{name} is alive for {'; '.join(alive)}, and not for {'; '.join(lost)}"
    return None


def in_a_line(statements: Iterable[Statement]) -> str:
    """Say in one line who says what: what a gate is journalled with."""
    members = dict.fromkeys(item.member for item in statements)
    told = [
        f"{name}: "
        + "; ".join(f"{item.vantage}: {item.seen} ({item.says})" for item in statements if item.member == name)
        for name in members
    ]
    return ". ".join(told) or "no vantage point saw anything"


def table(statements: Sequence[Statement]) -> list[str]:
    """Show who says what, a line each, in columns."""
    rows = [(item.member, item.vantage, item.says, item.seen) for item in statements]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)), row[3]]) for row in rows
    ]
