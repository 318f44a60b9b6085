# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the words of all vantage points come to: which regions are lost, may the target take over? Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..postgresql.decide import Gate
from ..postgresql.vantage import NEEDED_KINDS, Statement, in_a_line
from .model import Standing, View, named

# Beyond so many statements a refusal would be longer than anybody reads.
MOST_SHOWN = 8
# What we see from our own place. A broken network before it makes all of these say the same.
OWN = frozenset({"edge", "kubernetes", "sql"})
WANTED = (
    f"{NEEDED_KINDS} kinds of vantage points that say lost, one of them another place than ours (a standby, "
    "a service, Route 53's checkers), and none that says alive"
)


@dataclass(frozen=True)
class Verdict:
    """How each region beside the target stands, and what follows for the run."""

    standing: dict[str, Standing]
    lost: tuple[str, ...] = ()  # confirmed, or by the operator's word
    left: tuple[str, ...] = ()  # alive, but everything has moved away: to be kept out until it is taken back

    @property
    def out(self) -> tuple[str, ...]:
        """Name the regions in which nothing may work for the platform."""
        return (*self.lost, *self.left)

    @property
    def leaving(self) -> tuple[str, ...]:
        """Name the regions that the target stands in for."""
        return (*self.out, *(name for name, one in self.standing.items() if one == "holds the primary"))


def stands(view: View, region: str) -> Standing:
    """Judge one region."""
    said = view.about(region)
    states = [members[region] for members in view.databases.values() if region in members]
    alive = any(item.says == "alive" for item in said)
    kinds = {kind(item.vantage) for item in said if item.says == "lost"}
    lost = not alive and len(kinds) >= NEEDED_KINDS and bool(kinds - OWN)
    if not states:
        return "lost" if lost else "stands by"
    if alive:
        if any(state.is_primary for state in states):
            return "holds the primary"
        if all(state.is_standby and state.streaming for state in states):
            return "follows"
        return "left" if view.moved else "answers in part"
    return "lost" if lost else "unclear"


def in_short(said: Sequence[Statement]) -> str:
    """Say who says what, where many say the same one of each kind and how many; the journal has all of it."""
    if len(said) <= MOST_SHOWN:
        return in_a_line(said)
    groups: dict[tuple[str, str], list[Statement]] = {}
    for item in said:
        groups.setdefault((kind(item.vantage), item.says), []).append(item)
    told = [f"{len(many)} of {name} {says}, such as {in_a_line(many[:1])}" for (name, says), many in groups.items()]
    return "; ".join(told)


def kind(vantage: str) -> str:
    """Name the kind of a vantage point; those of one kind fail together."""
    return vantage.partition(" ")[0]


def judge(view: View, others: Sequence[str], *, word: bool) -> Verdict:
    """Judge all regions. The operator's word makes one lost that nobody reaches, never one that answers anybody."""
    standing = {region: stands(view, region) for region in others}
    lost = [name for name, one in standing.items() if one == "lost" or (word and one == "unclear")]
    return Verdict(standing, tuple(lost), tuple(name for name, one in standing.items() if one == "left"))


def gates(view: View, verdict: Verdict, mode: str, reason: str | None, *, returning: bool = False) -> list[Gate]:
    """Decide whether the run may go on, with all that was seen. The databases of a target that returns may be down."""
    return [
        target_gate(view, OWN - {"sql"} if returning else OWN),
        *(region_gate(view, verdict, name, mode, reason) for name in verdict.standing),
    ]


def target_gate(view: View, doors: frozenset[str] = OWN) -> Gate:
    """Refuse a target of which any door is shut. What Route 53 finds there shows once its databases take writes."""
    said = view.about(view.target)
    shut = [item for item in said if item.says == "lost" and kind(item.vantage) in doors]
    return Gate(
        f"region {view.target}",
        in_short(said),
        "every door of the target answers",
        "refuse" if shut else "pass",
        next_action=f"mend {named([item.vantage for item in shut])} in {view.target}, then run again" if shut else None,
    )


def region_gate(view: View, verdict: Verdict, region: str, mode: str, reason: str | None) -> Gate:
    """Decide about one region beside the target."""
    standing = verdict.standing[region]
    observed = f"{standing}: {in_short(view.about(region))}"
    gate = f"region {region}"
    if mode == "switchover":
        return switchover_gate(gate, region, standing, observed)
    if standing in ("lost", "left", "follows", "stands by"):
        return Gate(gate, observed, WANTED if standing == "lost" else "nothing that holds a primary")
    if region in verdict.lost:
        return Gate(gate, observed, WANTED, "override", f"operator: {reason}")
    advice = {
        "holds the primary": f"{region} lives: nothing is to be recovered. Use recovery_mode=switchover to move the "
        "platform away from it",
        "answers in part": f"{region} is not lost as a whole: recover what failed there "
        "(platform.recovery.database_failover)",
        "unclear": f"find out from elsewhere whether {region} lives; if it is down and nobody else can say so, give "
        "recovery_fence_statement with a recovery_reason",
    }
    return Gate(gate, observed, WANTED, "refuse", next_action=advice[standing])


def switchover_gate(gate: str, region: str, standing: Standing, observed: str) -> Gate:
    """A planned move needs a region that lives, or one that everything has left already."""
    wanted = "a region that answers as a whole"
    if standing in ("holds the primary", "follows", "stands by", "left"):
        return Gate(gate, observed, wanted)
    return Gate(
        gate, observed, wanted, "refuse", next_action=f"mend {region}, or use recovery_mode=failover if it is lost"
    )


def effective_mode(mode: str, verdict: Verdict) -> str:
    """A plan decides as the mode that fits what is found."""
    if mode != "plan":
        return mode
    return "switchover" if "holds the primary" in verdict.standing.values() else "failover"


def lines(view: View, verdict: Verdict) -> list[str]:
    """Give the facts in few words, those of the regions beside the target first."""
    told = [f"{name}: {standing}" for name, standing in verdict.standing.items()]
    primaries = {
        name: [region for region, state in states.items() if state.is_primary]
        for name, states in view.databases.items()
    }
    return told + [
        f"{name}: primary in {named(where) if where else 'no region that answers'}" for name, where in primaries.items()
    ]


def pending(verdict: Verdict, clusters: Sequence[str], target: str) -> list[str]:
    """Say what nobody could do in a region that is out of reach."""
    if not clusters:
        return []
    return [
        f"when {named(verdict.lost)} is back, run platform.recovery.region_failover -e recovery_target={target} once "
        f"more: it scales the workloads of cluster {named(list(clusters))} to 0 and masks what runs its databases; "
        "until then the guards beside its databases hold, and its names stay declared unhealthy"
    ]
