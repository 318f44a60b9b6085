# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a store of events could be moved right now: everybody asked, nothing done."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from .. import service_manager
from ..errors import RecoveryError
from ..readiness import FIRST, Check, Checklist
from ..service_manager import Fence, UnitStatus
from . import mirror
from .client import Cluster
from .failover import Move, Request, Seen, at_once, key, look
from .mirror import Names
from .model import Place, Store

ROLE = "kafka_failover"


def checks(store: Store, request: Request, most_lag: float) -> list[Check]:
    """Make every check of one store."""
    on = Checklist(ROLE, store.name)
    try:
        work = Move(store, request)
    except RecoveryError as error:
        return [on.failed("target", error)]
    lost = work.out_of.region in request.lost_regions
    clusters = {request.target: work.target} | ({} if lost else {work.out_of.region: work.source})
    seen = dict(zip(clusters, at_once(look, list(clusters.values())), strict=True))
    found = [cluster_check(on, region, clusters[region], one) for region, one in seen.items()]
    here, there = seen[request.target], seen.get(work.out_of.region, Seen("its region is lost"))
    found += [rights_check(on, region, one, closed=region == request.target) for region, one in seen.items()]
    found += unit_checks(on, work, lost=lost)
    if here.answers:
        names = Names(work.out_of.alias)
        found += on.attempt("mirror", lambda: list(mirror_checks(on, work.target, here, names, store, most_lag)))
        if there.answers:
            work.here, work.there = here, there
            found += on.attempt("backlog", lambda: list(backlog_checks(on, work)))
    return found


def cluster_check(on: Checklist, region: str, cluster: Cluster, seen: Seen) -> Check:
    """Say whether a cluster answers this account."""
    wanted = f"an answer of {', '.join(cluster.member.bootstrap)}"
    observed = seen.trouble or f"it answers, and has {len(seen.topics)} topics"
    mend = "mend the brokers, the way to them, or the account"
    return on.judged(f"Kafka of {region}", seen.answers, observed, wanted, mend)


def rights_check(on: Checklist, region: str, seen: Seen, *, closed: bool) -> Check:
    """Say whether writes can be forbidden, and whether they are where records are only mirrored."""
    what = f"rights in {region}"
    if not seen.answers:
        return on.judged(what, None, seen.trouble, "rights that can be asked", FIRST)
    if seen.closed is None:
        mend = "set authorizer.class.name on its brokers, and make this account and the mirrors' super users"
        return on.judged(what, False, "it has no authorizer", "an authorizer", mend)
    state = "writes and groups are forbidden" if seen.closed else "writes and groups are allowed"
    wanted = "forbidden, where records are only mirrored" if closed else "allowed, where the application writes"
    mend = "deny User:* to write to topic * and to read as group *" if closed else "take these denials away"
    return on.judged(what, seen.closed is closed, state, wanted, mend)


def unit_checks(on: Checklist, work: Move, *, lost: bool) -> Iterator[Check]:
    """Say whether each host would let its units be stopped, and whether the mirrors are as they should be."""
    seconds = work.request.connect_seconds + 1
    kinds: dict[str, tuple[tuple[Fence, ...], bool | None]] = {
        f"mirror into {work.into.region}": (work.into.mirrors, True),
    }
    if not lost:
        kinds[f"broker of {work.out_of.region}"] = (work.out_of.brokers, None)
        kinds[f"mirror into {work.out_of.region}"] = (work.out_of.mirrors, False)
    for what, (fences, alive) in kinds.items():
        if not fences:
            mend = "describe its host and its unit"
            yield on.judged(what, False, "no unit is described", "a unit that can be stopped for good", mend)
        found = at_once(lambda fence: service_manager.status(fence, seconds=seconds), fences)
        for fence, unit in zip(fences, found, strict=True):
            yield unit_check(on, what, fence, unit, alive, seconds)


def unit_check(on: Checklist, what: str, fence: Fence, unit: UnitStatus, alive: bool | None, seconds: float) -> Check:
    """Say whether one unit can be stopped, and runs or does not as it should."""
    name = f"{what} at {fence.host}"
    if not unit.answered:
        return on.judged(name, False, unit.observed, "an answer by ssh", "mend the host, the way to it, or its key")
    if fence.sudo and not service_manager.may_fence(fence, seconds=seconds):
        mend = f"let sudo allow systemctl mask, kill, stop {fence.unit} without a password"
        return on.judged(name, False, "sudo does not let us stop it", "the right to stop it", mend)
    if alive is None:
        return on.judged(name, True, unit.observed, "the right to stop it", "")
    wanted = "it runs" if alive else "it is stopped and masked, for two mirrors would go round in circles"
    good = bool(unit.alive) if alive else unit.fenced
    return on.judged(name, good, unit.observed, wanted, "start it" if alive else f"stop and mask {fence.unit}")


def mirror_checks(
    on: Checklist, target: Cluster, here: Seen, names: Names, store: Store, most_lag: float
) -> Iterator[Check]:
    """Say whether records arrive, and whether what a failover reads is there."""
    beat = target.newest(names.heartbeats, here.topics)
    wanted, mend = f"at most {most_lag:g} s", "mend the mirror, or let it emit heartbeats (emit.heartbeats.enabled)"
    age = None if beat is None else max(0.0, time.time() - beat)
    observed = "no heartbeat was mirrored" if age is None else f"the newest heartbeat is {age:.1f} s old"
    yield on.judged("mirroring", age is not None and age <= most_lag, observed, wanted, mend)
    present = names.syncs in here.topics
    observed = f"{names.syncs} {'is there' if present else 'is missing'}"
    mend = "set offset-syncs.topic.location=target: where they lie in the source they are lost with it"
    yield on.judged("pairs of offsets", present, observed, "they lie in the target", mend)
    found = mirror.checkpoints_of(target.rows(names.checkpoints, here.topics))
    missing = sorted(set(store.named_groups) - set(found))
    observed = f"none for {', '.join(missing)}" if missing else f"of {len(found)} groups"
    mend = "let the mirror emit checkpoints (emit.checkpoints.enabled), and the group commit"
    yield on.judged("checkpoints", not missing, observed, "one of every group that is named", mend)


def backlog_checks(on: Checklist, work: Move) -> Iterator[Check]:
    """Compare both regions' topics."""
    ends = work.source_ends()
    absent = sorted({place.topic for place in ends if not exists(place, work.here.topics)})
    observed = f"{', '.join(absent[:5])} is missing in the target" if absent else "all are in the target"
    mend = "let the mirror choose them (topics), and wait for refresh.topics.interval.seconds"
    yield on.judged("topics", not absent, observed, "every topic of the source", mend)
    left = work.left(ends)
    worst = max(left, key=lambda place: left[place], default=None)
    observed = f"{sum(left.values())} offsets are to come" + (f", most in {key(worst)}" if worst else "")
    yield on.judged("backlog", True, observed, "known", "")


def exists(place: Place, topics: Mapping[str, int]) -> bool:
    """Tell whether a partition is there."""
    return place.partition < topics.get(place.topic, 0)
