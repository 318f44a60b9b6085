# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a store could be moved right now: everybody asked, nothing done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from .. import service_manager
from ..readiness import FIRST, Check, Checklist
from . import decide
from .decide import Seen, Wish
from .failover import survey
from .model import Member, MemberState, Sentinel, Store

ROLE = "redis_failover"


def checks(store: Store, wish: Wish, seconds: float) -> list[Check]:
    """Make every check of one store."""
    on = Checklist(ROLE, store.name)
    present = {name: member for name, member in store.members.items() if name not in wish.lost_regions}
    sentinels = tuple(one for one in store.sentinels if one.region not in wish.lost_regions)
    if wish.target not in present:
        return [on.judged("target", False, f"{wish.target} is lost", "a region that is there", "choose another target")]
    seen = survey(replace(store, members=present, sentinels=sentinels), seconds)
    found = [member_check(on, state) for state in seen.members.values()]
    found += [sentinel_check(on, seen, number) for number in range(len(seen.sentinels))]
    found += [roles_check(on, seen), quorum_check(on, store, seen)]
    found += on.attempt("replica to be promoted", lambda: [candidate_check(on, seen, wish)])
    found += replication_checks(on, seen, wish)
    found += [fence_check(on, seen, member, seconds) for name, member in present.items()]
    return found


def member_check(on: Checklist, state: MemberState) -> Check:
    """Say whether a server lets us in."""
    mend = "start it, or correct its address, credentials or certificate authority"
    return on.judged(f"Redis of {state.name}", state.reachable, state.words, "it answers us", mend)


def sentinel_check(on: Checklist, seen: Seen, number: int) -> Check:
    """Say whether a Sentinel leads clients to the primary."""
    one = seen.sentinels[number]
    what, wanted = f"Sentinel {one.sentinel.place.words}", "it answers us and leads to the primary"
    if not one.reachable:
        return on.judged(what, False, one.words, wanted, "start it, or correct its address or credentials")
    primary = next((state for state in seen.members.values() if state.role == "primary"), None)
    if primary is None:
        return on.judged(what, None, one.words, wanted, FIRST)
    good = one.primary in decide.addresses(seen, primary)
    return on.judged(what, good, one.words, wanted, f"have it watch {primary.name} (SENTINEL REMOVE, SENTINEL MONITOR)")


def roles_check(on: Checklist, seen: Seen) -> Check:
    """Say whether there is one primary."""
    primaries = [name for name, state in seen.members.items() if state.role == "primary"]
    observed = f"primary: {', '.join(primaries) or 'none'}"
    return on.judged("one primary", len(primaries) == 1, observed, "one", "mend the one that should not be, or is not")


def quorum_check(on: Checklist, store: Store, seen: Seen) -> Check:
    """Say whether Sentinels that are left when a region is lost could promote across regions by themselves.

    They would do so beside a checklist that fences first.
    """
    what, wanted = "automatic failover", "no region's loss lets the Sentinels of others promote by themselves"
    asked = [one for one in seen.sentinels if one.reachable]
    if not asked:
        return on.judged(what, None, "no Sentinel answers", wanted, FIRST)
    total = max(max(one.others + 1 for one in asked), len(store.sentinels))
    quorum = min(one.quorum for one in asked)
    left = survivors(store.sentinels, total)
    able = [region for region, count in left.items() if count >= max(quorum, total // 2 + 1)]
    observed = f"quorum {quorum} of {total} Sentinels"
    if able:
        observed += f"; without {able[0]} there are {left[able[0]]} left, who could"
    mend = f"give them a quorum above {max(left.values(), default=0)} (SENTINEL SET quorum)"
    return on.judged(what, not able, observed, wanted, mend)


def survivors(sentinels: tuple[Sentinel, ...], total: int) -> dict[str, int]:
    """Count the Sentinels that are left without each region."""
    here = Counter(one.region for one in sentinels if one.region)
    return {region: total - count for region, count in here.items()}


def candidate_check(on: Checklist, seen: Seen, wish: Wish) -> Check:
    """Say whether Sentinel would promote the target."""
    target = seen.members[wish.target]
    if target.role == "primary":
        return on.judged("replica to be promoted", True, f"{wish.target} is the primary", "it could become it", "")
    gate = decide.candidate(seen, wish, target)
    return on.judged("replica to be promoted", True, gate.observed, gate.wanted, "")


def replication_checks(on: Checklist, seen: Seen, wish: Wish) -> Iterator[Check]:
    """Compare replicas with their primary."""
    primary = next((state for state in seen.members.values() if state.role == "primary"), None)
    goal = seen.store.rpo_seconds
    for state in seen.members.values():
        if state.role != "replica":
            continue
        what = f"replication to {state.name}"
        wanted = f"it follows the primary, at most {wish.most_lag_bytes} bytes behind"
        if primary is None:
            yield on.judged(what, None, state.words, wanted, FIRST)
            continue
        behind = primary.offset - state.offset
        good = state.link_up and state.replid == primary.replid and behind <= wish.most_lag_bytes
        if goal is not None:
            wanted += f", and has heard of it within {goal:g} s"
            good = good and state.silent_seconds is not None and state.silent_seconds <= goal
        observed = f"{state.words}, {max(0, behind)} bytes behind"
        yield on.judged(what, good, observed, wanted, f"mend the replication of {state.name}")
        yield on.judged(
            f"version of {state.name}",
            state.version.split(".")[0] == primary.version.split(".")[0],
            f"{state.version}, the primary {primary.version}",
            "the same major version, for neither reads what a newer one writes",
            "bring both to the same version",
        )
        room = state.room is None or (primary.room is not None and primary.room <= state.room)
        yield on.judged(
            f"room of {state.name}",
            room,
            f"maxmemory {state.room or 'unlimited'}, the primary {primary.room or 'unlimited'}",
            "at least that of the primary",
            f"raise maxmemory of {state.name}",
        )


def fence_check(on: Checklist, seen: Seen, member: Member, seconds: float) -> Check:
    """Say whether a server could be stopped for good, which a failover away from it needs."""
    what, wanted = f"fence of {member.name}", "its service manager answers and lets us stop it for good"
    unit = seen.units.get(member.name)
    if unit is None:
        mend = "describe a fence, or be ready to state that it is down"
        return on.judged(what, False, "no channel is described", wanted, mend)
    if not unit.answered:
        return on.judged(what, False, unit.observed, wanted, "mend the way to its host")
    allowed = not member.fence.sudo or service_manager.may_fence(member.fence, seconds=seconds + 1)
    observed = unit.observed if allowed else f"{unit.observed}; sudo does not let us mask, kill and stop it"
    mend = f"let {member.fence.user or 'that account'} do so without a password"
    return on.judged(what, allowed and not unit.fenced, observed, wanted, mend if not allowed else "rejoin it")
