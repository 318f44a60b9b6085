# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a store needs so that the target becomes its only primary. Pure functions of what was seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..errors import BadInput, PreconditionFailed
from ..service_manager import UnitStatus
from .model import TURNED_AWAY, Known, MemberState, SentinelState, Store, descends, lost_bytes

Mode = Literal["switchover", "failover"]
# drain: refuse writes, let the target catch up, demote. resume: what was demoted is not yet replaced. kill: mask and
# kill. rely: an operator says that it is down. note: nothing more can be refused.
Step = Literal["nothing", "drain", "resume", "kill", "rely", "note"]
Verdict = Literal["pass", "override"]
# How Sentinel marks a replica that it would not promote.
DOWN = frozenset({"s_down", "o_down", "disconnected"})


@dataclass(frozen=True)
class Wish:
    """What is wanted of all stores."""

    target: str
    mode: Mode
    lost_regions: frozenset[str] = frozenset()
    reason: str = ""
    allow_data_loss: bool = False
    statement: str = ""
    most_lag_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True)
class Seen:
    """One store as everybody shows it."""

    store: Store
    members: Mapping[str, MemberState]
    sentinels: Sequence[SentinelState]
    units: Mapping[str, UnitStatus] = field(default_factory=dict)

    def others(self, target: str) -> list[MemberState]:
        """List the members beside the target."""
        return [state for name, state in self.members.items() if name != target]

    def words(self, name: str) -> str:
        """Say what both channels show of a member."""
        unit = self.units.get(name)
        manager = f"; service manager: {unit.observed}" if unit else ""
        return f"{name} {self.members[name].words}{manager}"


@dataclass(frozen=True)
class Gate:
    """A decision that was taken."""

    gate: str
    observed: str
    wanted: str
    verdict: Verdict = "pass"
    by: str = "observation"


@dataclass(frozen=True)
class Plan:
    """What is to be done: a step for each member beside the target, and whether the target has yet to be promoted."""

    steps: Mapping[str, Step]
    promote: bool
    tell: tuple[SentinelState, ...] = ()
    """Sentinels that lead clients elsewhere although the target is the primary."""
    gates: tuple[Gate, ...] = ()
    silent_seconds: float | None = None
    lost: int | None = None
    """Bytes that a stale primary wrote and the target does not have."""

    @property
    def changes(self) -> bool:
        """Tell whether there is anything to do."""
        return self.promote or bool(self.tell) or any(one in {"drain", "resume", "kill"} for one in self.steps.values())


def plan(seen: Seen, wish: Wish) -> Plan:
    """Choose, or refuse. Raises BadInput or PreconditionFailed; nothing was touched."""
    refuse_bad_access(seen)
    target = seen.members[wish.target]
    if not target.reachable:
        raise refused(
            seen,
            "target",
            f"{wish.target} does not answer, so it cannot become the primary",
            observed=seen.words(wish.target),
            wanted=f"{wish.target} answers",
            next_action=f"start the Redis of {wish.target}, or choose another target",
        )
    if target.role == "primary":
        return complete(seen, wish, target)
    primaries = [one for one in seen.others(wish.target) if one.role == "primary"]
    if primaries:
        return hand_over(seen, wish, target, primaries)
    return take_over(seen, wish, target)


def complete(seen: Seen, wish: Wish, target: MemberState) -> Plan:
    """Finish what is left where the target is the primary already."""
    steps: dict[str, Step] = {}
    lost = None
    for one in seen.others(wish.target):
        if one.role == "primary" and not descends(target, one):
            raise refused(
                seen,
                "one primary",
                f"{one.name} and {wish.target} both answer as primary, and neither was promoted from the other",
                observed="; ".join(map(seen.words, seen.members)),
                wanted="one primary",
                next_action="find out which holds the data that counts; stop and mask the Redis of the other by hand",
            )
        if one.role == "primary":
            lost = lost_bytes(target, one)
        unit = seen.units.get(one.name)
        if one.role == "replica" or (unit and unit.fenced):
            steps[one.name] = "nothing"
        elif unit and unit.answered:
            steps[one.name] = "kill"
        elif one.role == "primary":
            raise unproven(seen, wish, one)
        else:
            steps[one.name] = "note"
    where = addresses(seen, target)
    tell = tuple(one for one in seen.sentinels if one.reachable and one.primary not in where)
    return Plan(steps, promote=False, tell=tell, lost=lost)


def hand_over(seen: Seen, wish: Wish, target: MemberState, primaries: Sequence[MemberState]) -> Plan:
    """Move a living primary without loss."""
    source = primaries[0]
    if len(primaries) > 1:
        raise refused(
            seen,
            "one primary",
            f"{' and '.join(one.name for one in primaries)} both answer as primary",
            observed="; ".join(map(seen.words, seen.members)),
            wanted="one primary",
            next_action="stop and mask the one that holds nothing that counts, then run again",
        )
    if wish.mode == "failover":
        raise refused(
            seen,
            "fence",
            f"The primary {source.name} answers, and a failover would cut it off",
            observed=seen.words(source.name),
            wanted="no primary answers",
            next_action="use the mode switchover, which loses nothing",
        )
    gates = [*catching_up(seen, wish, target, source), candidate(seen, wish, target)]
    silent = [one for one in seen.sentinels if not one.reachable]
    astray = [one for one in seen.sentinels if one.reachable and one.run_id not in {"", source.run_id}]
    if silent or astray:
        raise refused(
            seen,
            "sentinels",
            f"Not all Sentinels see {source.name} as the primary",
            observed="; ".join(one.words for one in [*silent, *astray]),
            wanted=f"all {len(seen.sentinels)} say so, for those that do not would lead clients astray",
            next_action="mend them, then run again",
        )
    gates.append(Gate(gate_name(seen, "sentinels"), f"{len(seen.sentinels)} agree", f"all see {source.name}"))
    steps: dict[str, Step] = {one.name: "drain" if one is source else "nothing" for one in seen.others(wish.target)}
    return Plan(steps, promote=True, gates=tuple(gates))


def catching_up(seen: Seen, wish: Wish, target: MemberState, source: MemberState) -> list[Gate]:
    """Refuse a replica that could not catch up while nobody may write."""
    behind = source.offset - target.offset
    wanted = f"it follows {source.name}, at most {wish.most_lag_bytes} bytes behind"
    if not target.link_up or target.replid != source.replid or behind > wish.most_lag_bytes:
        raise refused(
            seen,
            "replica",
            f"{wish.target} does not hold what {source.name} holds",
            observed=f"{target.words}; {source.words}: {behind} bytes behind",
            wanted=wanted,
            next_action="mend the replication, or wait until it has caught up, then run again",
        )
    return [Gate(gate_name(seen, "replica"), f"{max(0, behind)} bytes behind", wanted)]


def candidate(seen: Seen, wish: Wish, target: MemberState) -> Gate:
    """See that Sentinel would promote the target and nobody else. Raises PreconditionFailed."""
    asked = leaders(seen, wish)
    wanted = f"a Sentinel of {wish.target} answers and knows it as the best replica"
    if not asked:
        raise refused(
            seen,
            "candidate",
            f"No Sentinel that could promote {wish.target} answers",
            observed="; ".join(one.words for one in seen.sentinels) or "none is described",
            wanted=wanted,
            next_action=f"start a Sentinel of {wish.target}, then run again",
        )
    one = asked[0]
    mine = known_to(seen, one, target)
    rivals = [row for row in one.replicas if row is not mine and row.priority and not row.flags & DOWN]
    trouble = ""
    if not mine:
        trouble = f"it does not know {wish.target}"
    elif mine.flags & DOWN:
        trouble = f"it finds {wish.target} {', '.join(sorted(mine.flags & DOWN))}"
    elif not target.priority:
        trouble = f"replica-priority of {wish.target} is 0: it may never become the primary"
    elif any(row.priority <= target.priority for row in rivals):
        trouble = f"it might promote {' or '.join('{}:{}'.format(*row.address) for row in rivals)} instead"
    if trouble:
        raise refused(
            seen,
            "candidate",
            f"Sentinel would not promote {wish.target}",
            observed=f"{one.words}; {trouble}",
            wanted=wanted,
            next_action=f"see that Sentinel reaches {wish.target}, and that this has the lowest replica-priority above "
            f"0; then run again",
        )
    return Gate(gate_name(seen, "candidate"), f"{one.sentinel.place.words} knows it", wanted)


def known_to(seen: Seen, sentinel: SentinelState, state: MemberState) -> Known | None:
    """Find a server among the replicas that a Sentinel knows, if need be by its address: who it is it asks rarely."""
    rows = sentinel.replicas
    by_id = next((row for row in rows if row.run_id and row.run_id == state.run_id), None)
    where = addresses(seen, state)
    return by_id or next((row for row in rows if row.address in where), None)


def unnoticed(seen: Seen, wish: Wish) -> bool:
    """Tell whether Sentinels may just not have noticed yet what keeps the target from being promoted."""
    target = seen.members[wish.target]
    if target.role != "replica":
        return False
    silent = not any(one.role == "primary" for one in seen.others(wish.target))
    if wish.mode == "failover" and silent and seen_alive(seen, wish, target):
        return True
    rows = [known_to(seen, one, target) for one in leaders(seen, wish)[:1]]
    return any(row is None or bool(row.flags & DOWN) for row in rows)


def leaders(seen: Seen, wish: Wish) -> list[SentinelState]:
    """List the Sentinels that may carry a promotion out, those of the target's own region first."""
    usable = [one for one in seen.sentinels if one.reachable and one.sentinel.region not in wish.lost_regions]
    return sorted(usable, key=lambda one: one.sentinel.region != wish.target)


def take_over(seen: Seen, wish: Wish, target: MemberState) -> Plan:
    """Replace a primary that is gone, or that was demoted by a run that was killed."""
    demoted = [one for one in seen.others(wish.target) if half_moved(seen, target, one)]
    if demoted:
        steps: dict[str, Step] = {
            one.name: "resume" if one is demoted[0] else "nothing" for one in seen.others(wish.target)
        }
        return Plan(steps, promote=True, gates=(candidate(seen, wish, target),))
    if wish.mode == "switchover":
        raise refused(
            seen,
            "primary",
            "No primary answers, so nothing can be moved without loss",
            observed="; ".join(map(seen.words, seen.members)),
            wanted="the primary answers",
            next_action="mend it, or use the mode failover",
        )
    alive = seen_alive(seen, wish, target)
    if alive:
        raise refused(
            seen,
            "vantage",
            f"The primary is silent for us, and others of {wish.target}'s side still reach it",
            observed=alive,
            wanted="its replica or a Sentinel there has lost it as well",
            next_action="mend our way to it, and use the mode switchover; if it is to be given up, stop it first",
        )
    gates = [candidate(seen, wish, target), loss_gate(seen, wish, target)]
    steps = {one.name: fence_step(seen, wish, one) for one in seen.others(wish.target)}
    gates += [
        Gate(
            gate_name(seen, f"fence {name}"),
            f"{seen.words(name)}; statement: {wish.statement}",
            "proof that it is stopped",
            "override",
            f"operator: {wish.reason}",
        )
        for name, step in steps.items()
        if step == "rely"
    ]
    return Plan(steps, promote=True, gates=tuple(gates), silent_seconds=target.silent_seconds)


def seen_alive(seen: Seen, wish: Wish, target: MemberState) -> str:
    """Say who still reaches the primary; empty if its replica has lost it, or a Sentinel takes it for down.

    A server that stands still keeps its connections: the replica alone would not notice for a long time.
    """
    if target.link_up and not any("s_down" in one.flags for one in leaders(seen, wish)):
        return "; ".join([seen.words(wish.target), *(f"{one.words}, not down" for one in leaders(seen, wish))])
    return ""


def half_moved(seen: Seen, target: MemberState, other: MemberState) -> bool:
    """Tell whether this was the primary until a run demoted it in favour of the target, and then got no further.

    They follow each other then.
    """
    return (
        other.role == "replica"
        and other.follows in addresses(seen, target)
        and target.follows in addresses(seen, other)
        and other.replid == target.replid
    )


def fence_step(seen: Seen, wish: Wish, state: MemberState) -> Step:
    """Choose what keeps a member from ever answering as primary again. Raises PreconditionFailed."""
    unit = seen.units.get(state.name)
    if state.role == "replica" or (unit and unit.fenced):
        return "nothing"
    if unit and unit.answered:
        return "kill"
    if wish.statement:
        return "rely"
    raise unproven(seen, wish, state)


def unproven(seen: Seen, wish: Wish, state: MemberState) -> PreconditionFailed:
    """Say that nobody proves a member down."""
    return refused(
        seen,
        "fence",
        f"The Redis of {state.name} is not proven stopped, and nobody states that it is",
        observed=f"{seen.words(state.name)}; statement: {wish.statement or 'none'}",
        wanted=f"proof that the Redis of {state.name} is stopped for good",
        next_action=f"stop and mask the Redis of {state.name} by any means; if no channel can prove it, give a "
        f"statement (redis_failover_fence_statement) with a reason",
    )


def loss_gate(seen: Seen, wish: Wish, target: MemberState) -> Gate:
    """Hold the loss that has to be expected against the objective. Raises PreconditionFailed."""
    goal, silent = seen.store.rpo_seconds, target.silent_seconds
    observed = (
        "it cannot be told how long it has heard nothing"
        if silent is None
        else f"{wish.target} has heard nothing from its primary for {silent:g} s, at offset {target.offset}"
    )
    wanted = "no objective is set" if goal is None else f"at most {goal:g} s"
    good = goal is None or (silent is not None and silent <= goal)
    if good:
        return Gate(gate_name(seen, "loss"), observed, wanted)
    if wish.allow_data_loss:
        return Gate(gate_name(seen, "loss"), observed, wanted, "override", f"operator: {wish.reason}")
    raise refused(
        seen,
        "loss",
        f"More of {seen.store.name} may be lost than its objective allows",
        observed=observed,
        wanted=wanted,
        next_action="see whether the primary can be brought back; if the loss is to be taken, allow it "
        "(redis_failover_allow_data_loss) with a reason",
    )


def addresses(seen: Seen, state: MemberState) -> set[tuple[str, int]]:
    """List the addresses that mean a member: how it is described, how it announces itself, how Sentinel knows it."""
    member = seen.store.members[state.name]
    found = {(member.place.host, member.place.port)}
    if member.address:
        found.add((member.address, member.port or member.place.port))
    if state.announced:
        found.add(state.announced)
    for one in seen.sentinels:
        found |= {row.address for row in one.replicas if row.run_id and row.run_id == state.run_id}
        if one.primary and one.run_id and one.run_id == state.run_id and "failover_in_progress" not in one.flags:
            found.add(one.primary)
    return found


def refuse_bad_access(seen: Seen) -> None:
    """A server that turns us away is not down. Raises BadInput."""
    asked = [(name, state.cause, state.why_not) for name, state in seen.members.items()]
    asked += [(f"Sentinel {one.sentinel.place.words}", one.cause, one.why_not) for one in seen.sentinels]
    turned = [(name, why) for name, cause, why in asked if cause in TURNED_AWAY]
    if turned:
        raise BadInput(
            f"{seen.store.name}: {turned[0][0]} cannot be asked with what the inventory says",
            wanted="every server that answers lets us in",
            observed="; ".join(f"{name}: {why}" for name, why in turned),
            next_action="correct the credentials, certificate authority or names in the inventory; nothing was touched",
        )


def gate_name(seen: Seen, gate: str) -> str:
    """Name a gate of a store."""
    return f"{seen.store.name}: {gate}"


def refused(
    seen: Seen, gate: str, what: str, *, observed: str, wanted: str, next_action: str, changed: bool = False
) -> PreconditionFailed:
    """Say that a gate refused."""
    return PreconditionFailed(
        f"{seen.store.name}: {what}",
        observed=observed,
        wanted=wanted,
        next_action=next_action,
        gate=gate_name(seen, gate),
        changed=changed,
    )
